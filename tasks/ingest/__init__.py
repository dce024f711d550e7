"""Manifest to samples: read, resolve, decode, deduplicate, split; every row used, quarantined or counted as a duplicate."""
