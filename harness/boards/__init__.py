"""Boards: the inventory, the ports, the leases, and the flashing."""
