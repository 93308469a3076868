"""The page of `find-rate`."""
