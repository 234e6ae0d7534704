"""What a record lacks, supposed: candidates, what they agree on, and how likely it is right."""
