"""The pages: each turns a result into one self-contained HTML file."""
