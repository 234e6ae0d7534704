"""How evidence is looked for: questions taken apart, all searched at once, words compared."""
