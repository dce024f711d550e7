"""Explain: what a model's answers rest on, by input, by part of an input, and by the rows that it learned from."""
