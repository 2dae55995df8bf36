"""Magpie: instructions out of an aligned model by sampling what a user would say, then the model's own answers."""
