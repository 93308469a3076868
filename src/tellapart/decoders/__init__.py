"""The steps of the decode contract: its settings, its verdicts, and what single kinds of image need."""
