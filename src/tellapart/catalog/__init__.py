"""Which images there are: scan, duplicates, groups, splits."""
