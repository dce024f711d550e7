"""Extraction on the nodes of a Ray cluster: docs/scale-out.md."""
