"""Searching for better settings: the space, the study that workers share, and what it came to."""
