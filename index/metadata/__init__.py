"""What is said about items: filters, columns in memory, full text, counts."""
