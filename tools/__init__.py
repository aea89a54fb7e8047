"""Generators for developers; not part of the package."""
