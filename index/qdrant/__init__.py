"""Qdrant as an engine: a server, its client's local mode, and the embedded library."""
