"""Two profiles to a list of tests: one for each thing that both tell of, Holm's correction over all of them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_contracts.refs import DriftTest
from tasks.config_sections import MonitorConfig
from tasks.escaping import one_line
from tasks.modeling.profile import Profile
from tasks.monitor.two_sample import Found, compare_categories, compare_numbers, compare_vectors
from tasks.number_format import short_number
from tasks.problems.scoring import holm

MIN_ROWS = 20
"""On each side; with fewer, a test would say nothing but `not different`."""
_SHOWN = 3
LABEL_CHARS = 40
"""Of a label, both its ends: three of them stand in a cell of a table."""


def compare_profiles(reference: Profile, new: Profile, config: MonitorConfig, seed: int) -> tuple[DriftTest, ...]:
    """The tests, the most certain first. What only one side has (labels that new rows lack) is left out."""
    found = [*_categories(reference, new, config, seed), *_numbers(reference, new, config)]
    found += _embeddings(reference, new, config, seed)
    tested = [test for test in found if test.p is not None]
    adjusted = holm([float(test.p) for test in tested if test.p is not None])
    corrected = [
        test.model_copy(
            update={"p_holm": value, "drifted": value <= config.alpha and test.effect >= max(test.min_effect, 1e-9)}
        )
        for test, value in zip(tested, adjusted, strict=True)
    ]
    left = [test for test in found if test.p is None]
    return (*sorted(corrected, key=lambda test: (not test.drifted, test.p, test.name)), *left)


def _categories(reference: Profile, new: Profile, config: MonitorConfig, seed: int) -> list[DriftTest]:
    tests = []
    for name in sorted(reference.categories.keys() & new.categories.keys()):
        before, after = reference.categories[name], new.categories[name]
        counts = sum(before.values()), sum(after.values())
        found = compare_categories(before, after, _rng(seed, name)) if min(counts) >= MIN_ROWS else None
        if name.endswith(" missing"):
            texts = [_share(side.get("missing", 0), sum(side.values())) for side in (before, after)]
        else:
            texts = [_mix(before, before, after), _mix(after, before, after)]
        tests.append(_test(name, "chi-square", found, config.min_effect, counts, texts))
    return tests


def _numbers(reference: Profile, new: Profile, config: MonitorConfig) -> list[DriftTest]:
    tests = []
    for name in sorted(reference.numbers.keys() & new.numbers.keys()):
        sides = reference.numbers[name], new.numbers[name]
        counts = len(sides[0]), len(sides[1])
        found = compare_numbers(*sides) if min(counts) >= MIN_ROWS else None
        tests.append(
            _test(name, "kolmogorov-smirnov", found, config.min_effect, counts, [_median(side) for side in sides])
        )
    return tests


def _embeddings(reference: Profile, new: Profile, config: MonitorConfig, seed: int) -> list[DriftTest]:
    tests = []
    for name in sorted(reference.embeddings.keys() & new.embeddings.keys()):
        sides = reference.embeddings[name], new.embeddings[name]
        counts = len(sides[0]), len(sides[1])
        found = compare_vectors(*sides, _rng(seed, name)) if min(counts) >= MIN_ROWS else None
        tests.append(_test(name, "energy distance", found, config.min_embedding_effect, counts, ["", ""]))
    return tests


def _test(
    name: str, method: Any, found: Found | None, min_effect: float, counts: tuple[int, int], texts: list[str]
) -> DriftTest:
    return DriftTest(
        name=name,
        method=method,
        p=None if found is None else found.p,
        p_holm=None,
        effect=0.0 if found is None else round(found.effect, 6),
        min_effect=min_effect,
        n_reference=counts[0],
        n_new=counts[1],
        before=texts[0],
        after=texts[1],
        drifted=False,
    )


def _rng(seed: int, name: str) -> np.random.Generator:
    """Its own for each test: a further modality changes no other test's p-value."""
    return np.random.default_rng([seed, int.from_bytes(hashlib.sha256(name.encode()).digest()[:8])])


def _median(values: NDArray[Any]) -> str:
    if not len(values):
        return "–"
    low, middle, high = (short_number(float(value)) for value in np.percentile(values.astype(np.float64), [10, 50, 90]))
    return middle if low == high else f"{middle} ({low} to {high})"


def _share(count: int, total: int) -> str:
    return f"{100 * count / total:.1f} %" if total else "–"


def _mix(side: Mapping[str, int], before: Mapping[str, int], after: Mapping[str, int]) -> str:
    """The categories whose shares differ most, with their shares on this side."""
    totals = max(1, sum(before.values())), max(1, sum(after.values()))
    apart = {name: abs(before.get(name, 0) / totals[0] - after.get(name, 0) / totals[1]) for name in {*before, *after}}
    widest = sorted(apart, key=lambda name: (-apart[name], name))[:_SHOWN]
    shares = {name: _share(side.get(name, 0), sum(side.values())) for name in sorted(widest)}
    return ", ".join(f"{one_line(name, LABEL_CHARS)} {share}" for name, share in shares.items())
