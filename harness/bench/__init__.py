"""Benchmarks: each does the same work with mww-harness and with the usual alternative, by turns."""
