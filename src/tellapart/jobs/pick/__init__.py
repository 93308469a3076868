"""A choice of backbone."""
