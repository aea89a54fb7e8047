"""Clips: sequences of slices, from every kind of source."""
