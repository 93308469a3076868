"""The page of `stress`."""
