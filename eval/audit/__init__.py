"""Is this judge worth believing? Answers that must lose, battles that must be even, and what the judge leans to."""
