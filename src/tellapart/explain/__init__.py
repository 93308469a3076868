"""Why a model answers as it does: heat maps of any class, laid on the image. Needs no torch."""
