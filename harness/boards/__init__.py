"""Boards: which there are, where each is plugged in, and whose turn it is."""
