"""Towers of the transformers and sentence-transformers families, by what they can do."""
