"""Spaces, a family a folder, reached by name through `embed.registry`."""
