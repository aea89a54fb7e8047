"""Finds the cause of a difference between a target's outputs and the golden outputs."""
