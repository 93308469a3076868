"""The steps that verbs share, in the order in which data meets them."""
