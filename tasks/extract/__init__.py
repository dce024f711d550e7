"""Samples to features: per modality, per shard, content-addressed, only what is new."""
