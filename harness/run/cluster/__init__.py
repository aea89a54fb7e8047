"""Clips spread over the workers of a Dask cluster: one more way to map clips to what is seen of them."""
