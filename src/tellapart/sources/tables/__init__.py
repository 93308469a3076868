"""Tables of images: their dialects, columns, labels and paths."""
