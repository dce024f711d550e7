"""Variants of a model, compared: which apply, how the classical ones are fitted, and what tells them apart."""
