"""Measure: judges, battles, ratings, benchmarks, audits."""
