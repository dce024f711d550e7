"""Every broken or strange file of the shared data comes out as its index expects."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.hostile import judge_all, peak_mb


@pytest.mark.slow
@pytest.mark.shared
def test_every_hostile_file_is_as_expected(shared_data: Path, tmp_path: Path) -> None:
    outcomes = judge_all(shared_data / "hostile", tmp_path)
    assert len(outcomes) == 205
    assert [outcome for outcome in outcomes if not outcome.as_expected] == []
    assert max(outcome.seconds for outcome in outcomes) < 10
    assert peak_mb() < 1000
