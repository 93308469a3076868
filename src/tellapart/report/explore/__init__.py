"""The page of `explore`."""
