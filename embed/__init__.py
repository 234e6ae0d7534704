"""Media in, vectors out: the ground floor of Crossbind, and the home of its shared nouns."""
