"""Architectures and configurations of the networks that trainers make."""
