"""Which images there are: sources, scan, duplicates, splits."""
