"""Boards on other hosts, from a labgrid coordinator; labgrid is called as a program and never imported."""
