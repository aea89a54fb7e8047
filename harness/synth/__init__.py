"""Clips from a phrase: the phrase, near misses of its sounds, and negatives, by speech engines of this machine."""
