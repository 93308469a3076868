"""Which pictures there are: sources, scan, duplicates, splits."""
