"""Instruct-SkillMix: instructions and answers that each need a random combination of skills."""
