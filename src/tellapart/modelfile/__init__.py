"""The model file that is shipped, and the predictor that runs it. No torch here."""
