"""Files that hold many images: archives, arrays, Parquet, Arrow, HDF5 and WebDataset."""
