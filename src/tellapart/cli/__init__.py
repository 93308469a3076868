"""Words on the command line → jobs. One verb, one call."""
