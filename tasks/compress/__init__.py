"""Smaller and faster versions of a published model."""
