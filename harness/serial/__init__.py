"""Serial ports of this machine: finding them, opening them, and who holds them."""
