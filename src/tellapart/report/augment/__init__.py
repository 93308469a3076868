"""The page of `explore --augment`."""
