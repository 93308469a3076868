"""Features and probe: what is learned, and how."""
