"""Probabilities of a classifier of known skill, without training one."""

from __future__ import annotations

import numpy as np


def make_probabilities(rows: int, classes: int, skill: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (N, C) float32 that favour the truth by `skill`, and the truth (N,)."""
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, classes, rows)
    logits = generator.normal(size=(rows, classes)) + skill * np.eye(classes)[truth]
    weights = np.exp(logits)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32), truth
