"""Vectors and items kept, and found again."""
