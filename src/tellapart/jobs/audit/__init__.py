"""An audit of the labels and images of a data set."""
