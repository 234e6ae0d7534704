"""From files, archives, tables and stores to items: on one machine, or on many."""
