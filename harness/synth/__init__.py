"""Clips for a phrase: the phrase, near misses, and negatives, spoken by speech engines of this machine."""
