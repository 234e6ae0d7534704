"""Records from folders, tables, archives and the generated world, one door for all of them."""
