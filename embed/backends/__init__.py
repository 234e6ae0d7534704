"""One embedder a file. They are reached by name through `embed.registry`."""
