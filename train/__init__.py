"""Learn from the data: thin scripts over TRL."""
