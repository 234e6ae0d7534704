"""Bytes to `Media`: by content, bounded, deterministic."""
