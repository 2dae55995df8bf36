"""A test set after WizardArena: diverse and hard prompts out of many."""
