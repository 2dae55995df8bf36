"""Prompts made ready: cleaned, told apart from evaluations, dealt into parts."""
