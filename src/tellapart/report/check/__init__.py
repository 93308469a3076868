"""The page of `explore --check`."""
