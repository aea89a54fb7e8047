"""Boards on other hosts, which a labgrid coordinator gives out; labgrid itself is only called, never imported."""
