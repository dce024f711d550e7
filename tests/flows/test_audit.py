"""`crossmodal audit` on real files: what it finds, what it leaves, that nothing is done twice, and what it refuses."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.auditing import audit_manifest
from flows.cli import main
from flows.request import Request, make_request, resolve_config
from flows.run_failed import RunFailed
from flows.stages import AuditStages
from tests.support.data import MakeData

FLIPPED = ("s050", "s061", "s077", "s098", "s103")
SETTINGS = ["runtime.workers=1", "media.timeout_s=600", "audit.folds=3"]
OTHER = {"low": "high", "high": "low"}


def flip(manifest: Path, ids: tuple[str, ...] = FLIPPED, label: str | None = None) -> None:
    """These rows have the other label, or this one."""
    rows = list(csv.DictReader(manifest.open()))
    for row in rows:
        if row["id"] in ids:
            row["label"] = OTHER[row["label"]] if label is None else label
    with manifest.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def request_for(data: Path, store: Path, *settings: str, run: str = "run") -> Request:
    config = resolve_config(None, str(data), [*SETTINGS, *settings])
    return make_request(config, str(store), None, run)


@pytest.fixture(autouse=True)
def _apart(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("MLFLOW_TRACKING_URI", "CROSSMODAL_STORE", "CROSSMODAL_REFRESH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory, make_learnable: Callable[[Path], Path]) -> Any:
    """An audit of the learnable data with five wrong labels: (request, summary)."""
    folder = tmp_path_factory.mktemp("audited")
    manifest = make_learnable(folder / "data")
    flip(manifest)
    request = request_for(manifest, folder / "store", "audit.max_listed=8")
    return request, audit_manifest(request)


def test_the_wrong_labels_are_found_and_listed_first(audited: Any) -> None:
    request, summary = audited
    lines = list(csv.DictReader((request.folder / "corrections.csv").open()))
    assert {line["id"] for line in lines} == set(FLIPPED)
    assert all(line["new_label"] == OTHER[line["label"]] for line in lines)
    assert summary.finding == "findings"
    assert summary.found["label error"] == 5
    assert summary.reason.startswith("5 of 100 labels look wrong")
    rows = list(csv.DictReader((request.folder / "rows.csv").open()))
    assert {row["id"] for row in rows[:5]} == set(FLIPPED)
    assert {row["listed"] for row in rows[:5]} == {"yes"}


def test_the_figures_of_the_report_are_in_the_json_beside_it(audited: Any) -> None:
    request, summary = audited
    found = json.loads((request.folder / "audit.json").read_text())
    assert found["rows"] == 100
    assert [view["view"] for view in found["views"]] == ["image", "text", "audio", "all inputs"]
    assert len(found["listed"]) <= 8
    page = (request.folder / "report.html").read_text()
    assert page.count("<audio controls") == len(found["listed"])
    assert page.count("data:audio/wav;base64,") == len(found["listed"])
    assert "http://" not in page
    assert "https://" not in page
    assert all(each in page for each in FLIPPED)
    assert json.loads((request.folder / "summary.json").read_text())["found"] == summary.found
    assert str(request.store.root) not in page


def test_the_same_audit_again_computes_nothing(audited: Any) -> None:
    request, summary = audited
    kinds = ("views", "out_of_fold", "audits")
    before = {path: path.stat().st_mtime_ns for kind in kinds for path in request.store.root.glob(f"{kind}/*/*.*")}
    assert len([path for path in before if "out_of_fold" in path.parts and path.name == "artifact.json"]) == 9
    again = audit_manifest(
        request_for(Path(request.config.data.path), request.store.root, "audit.max_listed=8", run="2")
    )
    after = {path: path.stat().st_mtime_ns for kind in kinds for path in request.store.root.glob(f"{kind}/*/*.*")}
    assert before == after
    assert again.reason == summary.reason


def test_an_audit_that_was_ended_goes_on_from_its_last_fold(
    tmp_path: Path, make_learnable: Callable[[Path], Path]
) -> None:
    manifest = make_learnable(tmp_path / "data")
    parts, fitted = AuditStages(), []

    def interrupted(*arguments: Any) -> Any:
        if len(fitted) == 4:
            raise KeyboardInterrupt
        fitted.append(parts.fold(*arguments))
        return fitted[-1]

    with pytest.raises(KeyboardInterrupt):
        audit_manifest(request_for(manifest, tmp_path / "store"), parts=AuditStages(fold=interrupted))
    store = tmp_path / "store"
    before = {path: path.stat().st_mtime_ns for path in store.glob("out_of_fold/*/artifact.json")}
    assert len(before) == 4
    assert not list(store.glob("audits/*"))
    audit_manifest(request_for(manifest, store, run="2"))
    after = {path: path.stat().st_mtime_ns for path in store.glob("out_of_fold/*/artifact.json")}
    assert len(after) == 9
    assert before.items() <= after.items()


@pytest.mark.slow
def test_rows_without_a_label_are_ranked(tmp_path: Path, make_learnable: Callable[[Path], Path]) -> None:
    manifest = make_learnable(tmp_path / "data")
    flip(manifest, ("s070", "s071", "s072"), label="")
    request = request_for(manifest, tmp_path / "store")
    summary = audit_manifest(request)
    found = json.loads((request.folder / "audit.json").read_text())
    assert found["unlabelled"] == 3
    assert {each["id"] for each in found["to_label"]} == {"s070", "s071", "s072"}
    assert {tuple(sorted(each["candidates"])) for each in found["to_label"]} == {("high", "low")}
    assert summary.rows.quarantined == 3


@pytest.mark.slow
def test_what_beside_the_content_tells_the_label_is_said(
    tmp_path: Path, make_learnable: Callable[[Path], Path]
) -> None:
    manifest = make_learnable(tmp_path / "data")
    rows = list(csv.DictReader(manifest.open()))
    for number, row in enumerate(rows):
        site = "berlin" if (row["label"] == "low") != (number % 10 == 0) else "rome"
        (manifest.parent / site).mkdir(exist_ok=True)
        (manifest.parent / row["image"]).rename(manifest.parent / site / f"{number}.png")
        row["image"] = f"{site}/{number}.png"
    with manifest.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    request = request_for(manifest, tmp_path / "store")
    summary = audit_manifest(request)
    found = json.loads((request.folder / "audit.json").read_text())
    assert "image folder" in [each["name"] for each in found["shortcuts"] if each["found"]]
    assert summary.found["shortcut"] >= 1


# -- what is refused ---


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--set", "audit.folds=1"], "audit.folds"),
        (["--set", "audit.max_listed=0"], "audit.max_listed"),
        (["--rows", "0"], "--rows"),
        (["--set", "data.problem=regression"], "the first label column is data.problem=regression"),
        (["--set", "data.problem=multilabel"], "the first label column is data.problem=multilabel"),
        (["--set", "data.columns.label=nowhere"], "nowhere"),
        (["--set", "data.corrections=nowhere.csv"], "nowhere.csv"),
    ],
)
def test_bad_usage_is_one_line_before_any_work(
    flags: list[str], message: str, make_data: MakeData, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["audit", "--data", str(make_data(12)), "--store", str(tmp_path / "store"), *flags])
    assert stop.value.code == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert message in lines[-1]
    assert lines[-1].startswith("error:")
    assert not list(tmp_path.glob("store/media/*"))


@pytest.mark.parametrize(("rows", "labels"), [(10, ("a", "b")), (40, ("a",))])
def test_too_few_rows_or_classes_are_refused_before_anything_is_decoded(
    rows: int, labels: tuple[str, ...], make_data: MakeData, tmp_path: Path
) -> None:
    request = request_for(make_data(rows, labels), tmp_path / "store", "audit.folds=5")
    with pytest.raises(RunFailed, match="two are needed") as failed:
        audit_manifest(request)
    assert failed.value.error.exit_code == 3
    assert not list(tmp_path.glob("store/media/*"))
    assert json.loads((request.folder / "summary.json").read_text())["error"] == str(failed.value)
