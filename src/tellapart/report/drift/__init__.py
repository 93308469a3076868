"""The page of `drift`."""
