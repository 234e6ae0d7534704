"""What lets the built-in space see which way things move in a film."""
