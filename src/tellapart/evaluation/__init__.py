"""Predictions → metrics with intervals, calibration, abstention. Numpy only."""
