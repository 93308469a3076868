"""The page of `pick`."""
