"""How good a space is: retrieval, zero-shot classification, probes, and what its cosines mean."""
