"""A small model of the family's structure, with the loops of its interface, for checks and tests."""
