"""Generates the C++ header and the reference page from `harness/link/messages.py`."""
