"""What binds pictures to words: refined class prototypes, and a head that tells clothes apart."""
