"""Reduced precision and the proof that the picture stays the same."""
