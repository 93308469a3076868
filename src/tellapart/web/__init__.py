"""The page as a folder for static hosting: the model runs in the browser, and no image leaves it."""
