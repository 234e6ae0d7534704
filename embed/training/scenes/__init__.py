"""A small generated world: paired pictures, films, sounds and captions whose truth is known."""
