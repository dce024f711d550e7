"""Classifiers of known skill."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tests.support.classifiers import make_probabilities

Classifier = Callable[..., tuple[np.ndarray, np.ndarray]]


@pytest.fixture(name="classifier")
def _classifier() -> Classifier:
    return make_probabilities
