"""The run folder: everything needed to check, repeat and compare one training."""
