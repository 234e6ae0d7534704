"""HTTP routes, one resource a file. Each turns a request into one call of the service."""
