"""The predictor over HTTP: a page, an API, and what keeps both up."""
