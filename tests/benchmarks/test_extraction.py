"""The speed table runs on a few media, and says whether each goal was met."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks.extraction import __main__ as extraction
from benchmarks.extraction.timing import Cost, Row, in_turns


def test_a_goal_is_met_by_cpu_seconds() -> None:
    row = Row("case", "peer", ours=Cost(2.0, 1.0), theirs=Cost(3.0, 9.0), items=10, goal=1.5)
    assert row.line() == "| case | peer | 200 | 300 | 1.50 | 9.00 | 1.50 | met |"
    slower = Row("case", "peer", Cost(2.0, 1.0), Cost(2.9, 9.0), 10, 1.5, "why")
    assert slower.line().endswith("| 1.45 | 9.00 | 1.50 | missed; why |")


def test_contenders_take_turns_and_the_first_round_is_not_counted() -> None:
    seen: list[str] = []
    costs = in_turns({name: lambda name=name: seen.append(name) for name in "ab"}, 3)  # type: ignore[misc]
    assert "".join(seen) == "abbaabba"
    assert set(costs) == {"a", "b"}


def test_it_measures_few_media_and_leaves_out_what_has_no_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    few = ["--rounds", "1", "--jpegs", "2", "--features", "9", "--weights", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["extraction", "--only", "reading,jpegs,texts,sounds", *few])
    extraction.main()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" | ")[1] for line in lines[3:7]] == [
        "np.load",
        "`datasets`, not scaled",
        "`datasets`, scaled by Pillow",
        "torchvision, decoded and scaled",
    ]
    assert [line.split(",")[0] for line in lines[7:9]] == ["texts: left out", "sounds: left out"]


@pytest.mark.slow
def test_it_measures_few_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(extraction, "NETWORKS", ("resnet18",))
    few = ["--rounds", "1", "--pictures", "3", "--weights", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["extraction", "--only", "pictures", *few])
    extraction.main()
    assert sum(line.startswith("| resnet18") for line in capsys.readouterr().out.splitlines()) == 4
