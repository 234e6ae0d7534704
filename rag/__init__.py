"""The journey from a question to a grounded answer."""
