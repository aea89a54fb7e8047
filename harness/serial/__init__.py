"""Serial ports of this machine: found, opened, and who holds them."""
