"""Differences from the golden outputs that somebody judged and accepted, for one model on one chip and runtime."""
