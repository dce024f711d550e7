"""Pretrained encoders: where their files lie, what they are, and one adapter per family."""
