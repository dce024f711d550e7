"""Near duplicates: signatures of media, candidate pairs among them, and clusters of samples."""
