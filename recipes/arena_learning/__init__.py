"""Arena Learning: battles that the target lost become training data."""
