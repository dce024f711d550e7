"""`crossmodal store`: what is kept and why, what goes, what is found to be wrong, and the exit statuses."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from data_contracts.run_record import RunRecord
from flows import collecting
from flows.cli import main
from flows.collecting import collect, collect_after_run
from flows.history import repeated_run, runs_of_verdict
from flows.request import make_request
from flows.store_roots import reasons
from tasks.config import load_config
from tasks.publish.roots import PublishedVersion
from tasks.store import Store, canonical_json

OLD = 1_000_000_000.0
NOW = 2_000_000_000.0


def record(run: str, at: float, model: str = "m", flow: str = "retrain", repeats: str | None = None) -> RunRecord:
    started = datetime.fromtimestamp(at, UTC)
    return RunRecord(run=run, model=model, flow=flow, status="completed", started=started, repeats=repeats)


def published(run: str, *needed_for: str) -> PublishedVersion:
    return PublishedVersion("m", "1", needed_for, "champions/x", ("champions/x",), run, None, None)


def put(store: Store, uri: str, used: float = OLD) -> None:
    kind, _, key = uri.rpartition("/")
    with store.create(kind, key) as draft:
        (draft.path / "a").write_text(uri)
        draft.ref = {"uri": uri}
    os.utime(store.path(uri), (used, used))


def put_run(store: Store, run: str, uri: str, verdict: str = "reject", **summary: Any) -> Path:
    """A run of long ago that needs one artifact."""
    folder = store.root / "runs" / run
    folder.mkdir(parents=True)
    started = datetime.fromtimestamp(OLD, UTC).isoformat()
    start = {"run": run, "flow": "retrain", "model": "m", "started": started, "finished": started, "data": "d"}
    refs = {"raw": {"uri": uri, "sha256": "0" * 64, "rows": 1, "source": "d", "modalities": []}}
    found = {"run": run, "flow": "retrain", "verdict": verdict, "model": {"name": "m"}, **summary}
    (folder / "run.json").write_text(canonical_json(start | {"host": "h", "pid": 1}))
    (folder / "refs.json").write_text(canonical_json(refs))
    (folder / "summary.json").write_text(canonical_json(found))
    (folder / "report.html").write_text("report")
    os.utime(folder, (OLD, OLD))
    return folder


def call(capsys: pytest.CaptureFixture[str], store: Store, *arguments: str) -> tuple[int, Any]:
    with pytest.raises(SystemExit) as ended:
        main(["store", *arguments, "--json", "--store", str(store.root)])
    out = capsys.readouterr().out
    return int(str(ended.value.code or 0)), json.loads(out.splitlines()[-1])


def test_why_a_run_is_kept() -> None:
    records = [
        *(record("e", 500), record("d", 400), record("c", 300, repeats="a"), record("b", 200), record("a", 100)),
        *(record("check", 50, flow="check"), record("other", 40, model="n")),
    ]
    found = reasons(records, [published("b", "rollback of champion"), published("z", "x"), published("d")], {}, 1, 350)
    assert found == {
        "e": ("one of the newest", "recent"),
        "d": ("recent",),
        "b": ("m version 1: rollback of champion",),
        "check": ("one of the newest",),
        "other": ("one of the newest",),
    }
    found = reasons(records, [], {"c": "digits"}, 1, 1000)
    assert found["c"] == ("profile digits",)
    assert found["a"] == ("report of c",), "a report that refers to another keeps it"
    assert "b" not in found


def test_gc_keeps_the_newest_runs_lists_first_and_deletes_then(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    for run, uri in (("1", "raw/old"), ("2", "raw/new")):
        put(store, uri)
        put_run(store, run, uri)
    put(store, "clean/nobody")
    scores = store.root / "scores/m/1/part.parquet"
    scores.parent.mkdir(parents=True)
    scores.write_text("answers")
    arguments = ("gc", "--keep-runs", "1", "--keep-days", "1")
    code, listed = call(capsys, store, *arguments, "--dry-run")
    assert [one["uri"] for one in listed["artifacts"]] == ["raw/old", "clean/nobody"]
    assert (code, [one["uri"] for one in listed["runs"]]) == (0, ["runs/1"])
    assert store.path("raw/old").exists()
    _, done = call(capsys, store, *arguments)
    assert [one["uri"] for one in done["artifacts"]] == ["raw/old", "clean/nobody"]
    assert done["kept"] == {"2": ["one of the newest"]}
    assert sorted(path.name for path in (store.root / "runs/1").iterdir()) == ["refs.json", "run.json", "summary.json"]
    assert (store.root / "runs/2/report.html").exists()
    assert (store.path("raw/new").exists(), scores.exists()) == (True, True)
    assert call(capsys, store, *arguments)[1]["artifacts"] == []
    assert call(capsys, store, "verify", "--deep")[0] == 0


def test_status_tells_what_is_needed(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    for uri in ("raw/old", "raw/new", "clean/c"):
        put(store, uri)
    put_run(store, "1", "raw/new")
    code, found = call(capsys, store, "status", "--keep-days", "1")
    kinds = {one["kind"]: one for one in found["kinds"]}
    assert (code, kinds["raw"]["number"], kinds["raw"]["oldest"]) == (0, 2, "2001-09-09 01:46")
    assert kinds["raw"]["needed_bytes"] * 2 == kinds["raw"]["bytes"]
    assert kinds["clean"]["needed_bytes"] == 0
    (model,) = found["models"]
    assert (model["model"], model["runs"], model["versions"]) == ("m", 1, 0)
    assert model["bytes"] > kinds["raw"]["needed_bytes"]


def test_verify_says_what_is_wrong_with_status_3(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    put(store, "raw/r")
    (put_run(store, "1", "raw/r") / "refs.json").write_text("{")
    (store.path("raw/r") / "a").write_text("changed")
    code, found = call(capsys, store, "verify")
    assert (code, [one["uri"] for one in found["findings"]]) == (3, ["runs/1/refs.json"])
    code, found = call(capsys, store, "verify", "--deep")
    assert (code, [one["uri"] for one in found["findings"]]) == (3, ["raw/r", "runs/1/refs.json"])
    assert all(one["to_do"] for one in found["findings"])


def test_a_store_that_is_none_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("status", "verify", "gc"):
        with pytest.raises(SystemExit) as ended:
            main(["store", command, "--store", str(tmp_path / "none")])
        assert ended.value.code == 2
        assert "is not a folder; name the store with --store" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_a_retrain_collects_only_where_that_is_set_and_once_a_day(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []
    real = collecting.collect

    def counted(*arguments: Any) -> Any:
        asked.append(arguments[3])
        return real(*arguments)

    monkeypatch.setattr(collecting, "collect", counted)
    for settings in ([], ["runtime.gc_keep_days=7"], ["runtime.gc_keep_days=7"]):
        config = load_config({}, settings).model_copy(update={"name": "m"})
        collect_after_run(make_request(config, str(store.root), None, "r"))
    assert asked == [7]


def test_what_a_live_process_may_have_found_stays(store: Store) -> None:
    """This process uses the store from now on, and found the artifact a moment later."""
    put(store, "raw/r")
    make_request(load_config({}).model_copy(update={"name": "m"}), str(store.root), None, "r")
    assert store.find("raw", "r") is not None
    assert collect(store, f"sqlite:///{store.root}/mlflow.db", 1, 0, NOW).artifacts == ()
    assert store.find("raw", "r") is not None


def test_an_unchanged_run_repeats_the_newest_whole_report_of_its_verdict(store: Store) -> None:
    for run, repeats in (("1", None), ("2", None), ("3", "2")):
        folder = put_run(store, run, "raw/r", **({"repeats": repeats} if repeats else {}))
        verdict = {"uri": "verdicts/d", "sha256": "0" * 64, "rows": 1, "decision": "reject", "reason": "", "rules": []}
        (folder / "refs.json").write_text(canonical_json({"verdict": verdict | {"model_sha256": "0" * 64}}))
    assert runs_of_verdict(store, "4", "m", "verdicts/other") == []
    found = runs_of_verdict(store, "4", "m", "verdicts/d")
    assert ([record.run for record in found], repeated_run(found)) == (["3", "2", "1"], "2")
    (store.root / "runs/2/report.html").unlink()
    assert repeated_run(runs_of_verdict(store, "4", "m", "verdicts/d")) == "1"
