"""The figures that each version of a stage's code gives on a small fixed input, kept in golden.json by stage and version."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tasks.stage_code import STAGES

GOLDEN = Path(__file__).with_name("golden.json")
CLOSE = 2e-3
"""Relative: another processor adds in another order, over two epochs; other code is off by more."""


def golden() -> dict[str, dict[str, Any]]:
    """Stage to version to figures."""
    known: dict[str, dict[str, Any]] = json.loads(GOLDEN.read_text(encoding="utf-8"))
    return known


def assert_figures(stage: str, figures: Mapping[str, Any]) -> None:
    """Fails where the stage's figures are not those of its version."""
    version = str(STAGES[stage].version)
    known = golden().get(stage, {}).get(version)
    assert known is not None and is_close(known, figures), (  # noqa: PT018
        f"the results of {stage} are not those of version {version}. Where that is meant: raise STAGES[{stage!r}].version in "
        "tasks/stage_code.py, and keep these under the new number in tests/support/golden.json (under the same number where "
        f"only the results of an earlier stage have changed):\n{json.dumps(figures)}"
    )


def is_close(known: Any, found: Any) -> bool:
    """The same, but for the last digits of numbers that are not whole."""
    if isinstance(known, dict) and isinstance(found, dict):
        return known.keys() == found.keys() and all(is_close(known[name], found[name]) for name in known)
    if isinstance(known, list) and isinstance(found, list):
        return len(known) == len(found) and all(is_close(one, other) for one, other in zip(known, found, strict=True))
    if isinstance(known, float) and isinstance(found, float):
        return bool(found == pytest.approx(known, rel=CLOSE, abs=1e-6))
    return bool(known == found)
