"""Measurements. Each prints the figure, its peer and the ratio; results are kept in RESULTS.md."""
