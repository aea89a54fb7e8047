"""A trained checkpoint becomes a streaming INT8 model with its manifest. Imports `mww`, never `harness`."""
