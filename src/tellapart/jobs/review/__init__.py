"""Findings reviewed by people, and what their decisions come to."""
