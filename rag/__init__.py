"""The journey from a question to a grounded answer. Empty until there are pairs to complete."""
