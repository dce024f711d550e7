"""Generators: a real medium of one kind in, the bytes of a file of another kind out; nothing random, nothing trained."""
