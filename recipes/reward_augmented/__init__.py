"""Reward-augmented preference pairs: each answer is the preferred one under the score that it got. See README.md."""
