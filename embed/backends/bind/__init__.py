"""Composite spaces: towers and trained heads, described by one manifest."""
