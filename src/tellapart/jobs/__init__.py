"""One function a verb: the whole path, readable from top to bottom."""
