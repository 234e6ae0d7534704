"""Two doors, one hallway: REST with a web page, and the command line."""
