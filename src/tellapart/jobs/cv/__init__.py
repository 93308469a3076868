"""Cross-validation, by probe and by gradient."""
