"""Calibration data: reading it, checking its scale, making frames of it."""
