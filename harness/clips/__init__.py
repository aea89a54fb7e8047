"""What is streamed: clips of slices, from wherever a caller has them."""
