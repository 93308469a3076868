"""What the shipped file is, and the predictor that users run. No torch here."""
