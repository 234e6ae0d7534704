"""One search from its question to its hits, and what a collection looks like from above."""
