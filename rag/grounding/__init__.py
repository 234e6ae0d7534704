"""How answers are kept to the evidence: what is handed over, as data, and what follows from it."""
