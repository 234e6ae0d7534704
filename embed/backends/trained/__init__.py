"""Spaces that `embed.training` made: `trained:FOLDER`."""
