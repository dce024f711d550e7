"""train.continue_from = auto in a run: when the champion's weights are tried, when not and why, and who says so."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from data_contracts.refs import ChampionRef
from data_contracts.training_history import StartChoice
from flows.champion import champion_to_continue
from flows.data_stages import extract_features, prepare
from flows.execute import execute
from flows.plan import plan_retrain
from flows.request import Request, make_request
from flows.run_state import RunState
from flows.stages import Stages
from flows.summary import start_notes
from flows.training_start import choose_start
from tasks.config import load_config
from tasks.modeling import training_rows
from tasks.modeling.training_rows import are_known, read_seen
from tests.support.data import SMALL, write_learnable

SETTINGS = [
    *SMALL,
    *("train.epochs=5", "name=continued", "train.continue_from=auto", "encoders.audio=off", "evaluate.robustness=off"),
    *("gate.margin=1", "gate.min_rows=20", "gate.rules=[]", "split.near_duplicates=false"),
]

OF_20 = "of the champion's 20 train rows changed"


def request_for(folder: Path, *settings: str, run: str = "run-1") -> Request:
    config = load_config({}, [*SETTINGS, f"data.path={folder / 'data/manifest.csv'}", *settings])
    return make_request(config, str(folder / "store"), None, run)


@pytest.fixture(scope="module")
def retrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a champion, which there was none before to continue from."""
    folder = tmp_path_factory.mktemp("start")
    write_learnable(folder / "data", rows=60)
    summary = execute(request_for(folder), Stages())
    assert summary.verdict == "promote"
    assert summary.warm_start is not None
    assert (summary.warm_start.kept, summary.warm_start.why) == ("scratch", "there is no champion to continue from")
    return folder


@pytest.fixture
def folder(retrained: Path, tmp_path: Path) -> Path:
    """The data and the store of a completed run, to be changed."""
    return shutil.copytree(retrained, tmp_path / "copy")


def edit(folder: Path, *numbers: int, **cells: str) -> None:
    """Rows of the manifest, by their numbers, have other cells."""
    manifest = folder / "data/manifest.csv"
    names, *rows = (line.split(",") for line in manifest.read_text(encoding="utf-8").splitlines())
    for number in numbers:
        for name, cell in cells.items():
            rows[number][names.index(name)] = cell.format(number)
    manifest.write_text("\n".join(map(",".join, [names, *rows])) + "\n", encoding="utf-8")


def choose(folder: Path, *settings: str) -> tuple[ChampionRef | None, StartChoice]:
    request, run_state = request_for(folder, *settings), RunState()
    valid = prepare(request, request.config, Stages(), run_state)
    features = extract_features(valid, request.config, request.store, Stages(), run_state)
    champion, choice = choose_start(champion_to_continue(request), valid, features, request)
    assert choice is not None
    assert (champion is None) is bool(choice.why)
    return champion, choice


def test_where_little_has_changed_the_champions_weights_are_tried(folder: Path) -> None:
    edit(folder, 50, text="it is another {}")
    champion, choice = choose(folder)
    assert champion is not None
    assert (champion.version, str(choice.changes)) == (
        "1",
        "5.0 % of the champion's 20 train rows changed (0 added, 0 removed, 1 altered)",
    )


@pytest.mark.parametrize(
    ("numbers", "cells", "settings", "why"),
    [
        ((50, 51, 52), {"text": "it is another {}"}, (), f"15.0 % {OF_20} (0 added, 0 removed, 3 altered), more than 10 %"),
        ((50,), {"split": "test"}, (), "version 1 was trained on 1 of 21 test rows, or on others of their groups"),
        ((50,), {"split": "val"}, (), "version 1 was trained on 1 of 21 validation rows"),
        ((4, 5, 24, 25, 44, 45), {"label": "third"}, (), "version 1 has other labels"),
        ((), {}, ("encoders.text=off",), "version 1 reads image and text"),
        ((), {}, ("encoders.text=classical",), "version 1 reads its inputs otherwise (encoders, media or extract)"),
        ((), {}, ("extract.max_text_bytes=16",), "version 1 reads its inputs otherwise (encoders, media or extract)"),
        ((), {}, ("fusion.hidden=64",), "version 1 has another head (fusion, train.heads)"),
    ],
)  # fmt: skip
def test_what_sets_a_champion_apart_is_said_and_no_error(
    folder: Path, numbers: tuple[int, ...], cells: dict[str, str], settings: tuple[str, ...], why: str
) -> None:
    edit(folder, *numbers, **cells)
    assert choose(folder, *settings)[1].why == why


def test_a_champion_that_does_not_tell_what_it_was_made_from_is_not_continued(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of before this release hold no digests of train rows."""
    monkeypatch.setattr(training_rows, "_TRAINED", "what an older release does not write")
    _, choice = choose(folder)
    assert choice.why.startswith("version 1 does not tell which train rows it was made from")


def test_the_plan_says_what_will_be_trained(folder: Path) -> None:
    edit(folder, 50, text="it is another {}")
    planned = {line["stage"]: line for line in plan_retrain(request_for(folder))}["train"]["why"]
    assert "from the champion's weights, too, where at most 10 % of its train rows changed" in planned
    request = request_for(folder)
    valid = prepare(request, request.config, Stages(), RunState())
    extract_features(valid, request.config, request.store, Stages(), RunState())
    planned = {line["stage"]: line for line in plan_retrain(request)}["train"]["why"]
    assert planned.endswith(
        "; from the weights of version 1 and compared by validation: "
        "5.0 % of the champion's 20 train rows changed (0 added, 0 removed, 1 altered)"
    )
    planned = {line["stage"]: line for line in plan_retrain(request_for(folder, "fusion.hidden=64"))}["train"]["why"]
    assert planned.endswith("; from scratch: version 1 has another head (fusion, train.heads)")


@pytest.mark.slow
def test_a_run_tells_what_was_tried_and_what_came_of_it(folder: Path) -> None:
    again = execute(request_for(folder, run="run-2"), Stages())
    assert again.verdict == "unchanged", "a champion made from these very rows is the answer"
    edit(folder, 50, text="it is another {}")
    manifest = folder / "data/manifest.csv"
    *rows, left_out = manifest.read_text(encoding="utf-8").splitlines()
    manifest.write_text("\n".join(rows) + "\n", encoding="utf-8")
    run_state = RunState()
    summary = execute(request_for(folder, run="run-3"), Stages(), run_state)
    assert summary.verdict == "promote", summary.reason
    found = json.loads((folder / "store" / "runs/run-3/summary.json").read_text())["warm_start"]
    compared: list[dict[str, Any]] = found["compared"]
    assert (found["version"], found["changed"]) == ("1", 0.1)
    assert found["changes"] == {"before": 20, "added": 0, "removed": 1, "altered": 1}
    assert [one["start"] for one in compared if one["chosen"]] == [found["kept"]]
    assert start_notes(run_state, request_for(folder).store)[0].startswith(f"10.0 % {OF_20}")
    report = (folder / "store" / str(summary.report)).read_text(encoding="utf-8")
    assert "<h3>Warm start</h3>" in report
    for one in compared:
        assert f"{one['val_loss']:.4f}" in report
    assert run_state.release is not None
    seen = read_seen(folder / "store" / run_state.release.uri)
    assert are_known([left_out.split(",")[0]], seen.ids).tolist() == [found["kept"] == "champion"]
    last = execute(request_for(folder, run="run-4"), Stages())
    assert (last.verdict, last.warm_start and last.warm_start.version) == ("unchanged", None)
