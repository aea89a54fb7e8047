"""Architectures and configurations of the trainers' networks."""
