"""`crossmodal plan` after a run: which rows, media, features and models a change concerns, why, and about how long."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from flows.data_stages import prepare
from flows.execute import execute
from flows.plan import describe_plan, plan_retrain
from flows.plan_line import PlanLine
from flows.request import Request, make_request
from flows.run_state import RunState
from flows.stages import Stages
from tasks.config import load_config
from tasks.ingest.manifest.row_changes import compare_rows
from tests.support.data import SMALL, write_learnable

SETTINGS = [
    *SMALL,
    "train.epochs=1",
    "name=planned",
    "gate.margin=1",
    "gate.min_rows=20",
    "split.near_duplicates=false",
]


def request_for(folder: Path, *settings: str) -> Request:
    config = load_config({}, [*SETTINGS, f"data.path={folder / 'data/manifest.csv'}", *settings])
    return make_request(config, str(folder / "store"), None, "run-1")


@pytest.fixture(scope="module")
def retrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plan")
    write_learnable(folder / "data", rows=60)
    execute(request_for(folder), Stages())
    return folder


@pytest.fixture
def folder(retrained: Path, tmp_path: Path) -> Path:
    """The data and the store of a completed run, to be changed."""
    return shutil.copytree(retrained, tmp_path / "copy")


def plan(folder: Path, *settings: str) -> dict[str, PlanLine]:
    return {line["stage"]: line for line in plan_retrain(request_for(folder, *settings))}


def computed(lines: dict[str, PlanLine]) -> list[str]:
    return [stage for stage, line in lines.items() if line["action"] == "compute"]


def edit(folder: Path, old: str, new: str) -> None:
    manifest = folder / "data/manifest.csv"
    text = manifest.read_text(encoding="utf-8")
    assert old in text
    manifest.write_text(text.replace(old, new), encoding="utf-8")


def test_without_a_run_before_everything_is_computed_and_nothing_estimated(folder: Path) -> None:
    shutil.rmtree(folder / "store")
    lines = plan(folder)
    assert lines["rows"]["why"] == "no run of this model before"
    assert [lines[f"decode {name}"]["count"] for name in ("image", "text", "audio")] == [60, 60, 60]
    assert {"extract image", "train", "evaluate", "publish"} <= set(computed(lines))
    assert {line["seconds"] for line in lines.values()} == {None}


@pytest.mark.parametrize(
    ("lost", "count"),
    [((), 20), (("validations",), 20), (("validations", "clean"), None)],
    ids=["validated", "ingested", "new"],
)
def test_a_flip_to_be_tried_is_planned_whatever_is_known_of_the_samples(
    folder: Path, lost: tuple[str, ...], count: int | None
) -> None:
    for kind in lost:
        shutil.rmtree(folder / "store" / kind)
    lines = plan(folder, "encoders.image=classical", "encoders.test_time_flip=auto")
    line = lines["extract image, test-time flip"]
    assert (line["action"], line["count"]) == ("compute", count)
    assert "validation samples" in line["why"]
    for setting in (
        "encoders.image=classical",
        "encoders.test_time_flip=auto",
    ):  # off, and pictures encoded in training
        assert not [stage for stage in plan(folder, setting) if "flip" in stage]


def test_after_a_run_nothing_is_computed(retrained: Path) -> None:
    lines = plan(retrained)
    assert {line["action"] for line in lines.values()} == {"reuse"}
    assert lines["rows"]["why"].startswith("0 new, 0 changed, 0 removed since run ")
    assert describe_plan(list(lines.values())) == "plan: nothing to compute, all of it is in the store"


def test_the_same_data_in_another_folder_cost_nothing_but_a_table(folder: Path) -> None:
    lines = plan(folder)
    assert computed(lines) == []
    assert "media lie elsewhere" in lines["ingest"]["why"]
    assert execute(request_for(folder), Stages()).verdict == "unchanged"


@pytest.mark.parametrize("command", [["plan"], ["retrain", "--plain"]])
def test_where_nothing_has_changed_nothing_heavy_is_imported(folder: Path, command: list[str]) -> None:
    execute(request_for(folder), Stages())  # at this place
    place = ["--data", str(folder / "data/manifest.csv"), "--store", str(folder / "store"), "--json"]
    arguments = [*command, *place, *(word for setting in SETTINGS for word in ("--set", setting))]
    code = "import atexit, sys; from flows.cli import main; atexit.register(lambda: print(*sys.modules)); main(sys.argv[1:])"
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    *_, answer, modules = done.stdout.splitlines()
    assert "unchanged" in answer or {line["action"] for line in json.loads(answer)["plan"]} == {"reuse"}
    assert set(modules.split()) & {"torch", "prefect", "great_expectations", "mlflow", "sklearn"} == set()


def test_changed_rows_are_counted_and_only_their_media_read(folder: Path) -> None:
    edit(folder, "it is high number 51", "it is high and new")
    edit(folder, "s059,", "s999,")
    lines = plan(folder)
    assert lines["rows"]["why"].startswith("1 new, 1 changed, 1 removed since run ")
    assert computed(lines) == ["decode text", "validate", "extract text", "train", "evaluate", "publish"]
    assert (lines["decode text"]["count"], lines["extract text"]["count"]) == (1, 1)
    assert "1 new, 1 changed, 1 removed" in lines["train"]["why"]
    for stage in ("validate", "train", "evaluate", "publish"):
        assert (lines[stage]["seconds"] or 0) > 0, stage
    total = sum(line["seconds"] or 0 for line in lines.values())
    assert describe_plan(list(lines.values())).endswith(f"at most about {total:.0f} s by the last runs")


def test_a_setting_is_named_as_the_reason(retrained: Path) -> None:
    lines = plan(retrained, "train.learning_rate=0.001")
    assert computed(lines) == ["train", "evaluate", "publish"]
    assert lines["train"]["why"] == "train.learning_rate 0.003 -> 0.001"
    long = plan(retrained, "train.learning_rate=0.001", "train.epochs=4")["train"]["seconds"]
    assert long == pytest.approx(4 * (lines["train"]["seconds"] or 0), abs=0.5), "more epochs take longer"
    lines = plan(retrained, "extract.image_px=16")
    assert computed(lines) == ["extract image", "train", "evaluate", "publish"]
    assert lines["extract image"]["why"].endswith("60 samples to compute, 0 in the store (extract.image_px null -> 16)")
    assert lines["train"]["why"] == "other features"


def test_a_changed_test_label_trains_nothing(folder: Path) -> None:
    row = "s001,img/1.png,snd/1.wav,it is high number 1,high,test"
    edit(folder, row, row.replace("high,test", "low,test"))
    assert plan(folder)["train"]["why"].endswith("(not where only test rows have changed)")
    request = request_for(folder)
    prepare(request, request.config, Stages(), RunState())  # which samples these rows become is known now
    lines = plan(folder)
    assert (computed(lines), lines["evaluate"]["count"]) == (["evaluate"], 20)


def test_rows_are_known_by_their_id_and_their_content_not_by_place() -> None:
    names = ["row", "id", "label", "image", "image_sha256", "image_2", "text"]
    before = pa.table(dict(zip(names, zip(*[(1, "a", "x", "p", "1", "", "")], strict=True), strict=True)))
    moved = pa.table(dict(zip(names, zip(*[(7, "a", "x", "q", "1", "r", "")], strict=True), strict=True)))
    relabelled = pa.table(dict(zip(names, zip(*[(1, "a", "y", "p", "1", "", "")], strict=True), strict=True)))
    twice = pa.concat_tables([before, before])
    assert not compare_rows(before, moved)
    assert str(compare_rows(before, relabelled)) == "0 new, 1 changed, 0 removed"
    assert str(compare_rows(before, twice)) == "1 new, 0 changed, 0 removed"
    assert str(compare_rows(twice, before)) == "0 new, 0 changed, 1 removed"
