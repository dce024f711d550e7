"""The journal: appended to, chained, whole after a kill; a changed, lost or added line is found."""

from __future__ import annotations

import json
import multiprocessing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from flows.cli import main
from tasks.errors import EnvironmentFailed
from tasks.publish import registry
from tasks.publish.approval import DAY_MS, Approval
from tasks.publish.journal import JOURNAL, Entry, append, read_journal
from tasks.publish.journal_events import (
    champions_at,
    checked_journal,
    name_last_entry,
    record_registry,
    record_verdict,
    uses_by_run,
)
from tasks.store import Store

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def entry(model: str = "tiny", **fields: Any) -> Entry:
    return Entry(at=NOON, by="ann", event="verdict", model=model, decision="reject", reason="worse", **fields)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def test_entries_are_numbered_and_chained(store: Store) -> None:
    assert read_journal(store) == []
    append(store, [entry("a"), entry("b")])
    lines = append(store, [entry("c")])
    assert [(line.entry.number, line.entry.model) for line in lines] == [(1, "a"), (2, "b"), (3, "c")]
    assert [line.entry.parent for line in lines] == ["", lines[0].sha256, lines[1].sha256]
    assert read_journal(store) == lines


def test_what_a_killed_process_left_of_a_line_is_no_entry(store: Store) -> None:
    append(store, [entry("a")])
    with (store.root / JOURNAL).open("ab") as file:
        file.write(b'{"number":2,"at":"2026-')
    assert [line.entry.model for line in read_journal(store)] == ["a"]
    assert [line.entry.model for line in append(store, [entry("b")])] == ["a", "b"]
    assert [line.entry.model for line in read_journal(store)] == ["a", "b"]


def _append(root: Path, name: str) -> None:
    for _ in range(20):
        append(Store(root), [entry(name)])


def test_processes_append_one_after_the_other(store: Store) -> None:
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_append, args=(store.root, name)) for name in "abc"]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    models = [line.entry.model for line in read_journal(store)]
    assert sorted(models) == sorted("abc" * 20)


def _changed(lines: list[bytes]) -> list[bytes]:
    return [lines[0].replace(b"worse", b"great"), *lines[1:]]


def _respaced(lines: list[bytes]) -> list[bytes]:
    return [lines[0], lines[1].replace(b'":', b'": '), lines[2]]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (_changed, 2),
        (lambda lines: lines[1:], 1),
        (lambda lines: [lines[0], lines[2]], 2),
        (lambda lines: [lines[1], lines[0], lines[2]], 1),
        (lambda lines: [*lines, lines[2]], 4),
        (_respaced, 2),
        (lambda lines: [lines[0], b"\n", *lines[1:]], 2),
    ],
)
def test_a_line_that_was_tampered_with_is_named_and_the_journal_begins_anew(
    store: Store, change: Any, line: int
) -> None:
    append(store, [entry("a"), entry("b"), entry("c")])
    path = store.root / JOURNAL
    tampered = b"".join(change(path.read_bytes().splitlines(keepends=True)))
    path.write_bytes(tampered)
    with pytest.raises(EnvironmentFailed, match=rf"journal\.jsonl: line {line} .*; restore the journal from a backup"):
        read_journal(store)
    restart, added = append(store, [entry("d")])
    assert (restart.entry.event, added.entry.model, added.entry.number) == ("restart", "d", 2)
    assert f"line {line} " in restart.entry.reason
    (kept,) = store.root.glob("journal-*.jsonl")
    assert kept.read_bytes() == tampered
    assert kept.name in restart.entry.reason


def test_every_flipped_bit_is_found_or_changes_nothing(store: Store) -> None:
    lines = append(store, [entry("a"), entry("b")])
    path = store.root / JOURNAL
    whole = path.read_bytes()
    last = len(whole.splitlines(keepends=True)[1])
    for place in range(0, len(whole) - last, 3):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        with pytest.raises(EnvironmentFailed, match=r"line [123]"):
            read_journal(store)
    path.write_bytes(whole)
    assert read_journal(store) == lines


@pytest.mark.usefixtures("quick")
def test_every_move_and_decision_is_recorded_once_with_its_evidence(make_case: Any) -> None:
    first = make_case(seed=0)
    store, uri = first.place

    def record() -> list[Entry]:
        record_registry("tiny", "champion", store, uri, "ann", NOON)
        return [line.entry for line in checked_journal("tiny", store, uri)[0]]

    about = ("tiny", first.verdict, first.report, first.valid)
    assert record_verdict(*about, "run-1", store, "ann", NOON) == (0, True)
    assert record_verdict(*about, "run-2", store, "ann", NOON) == (0, False)
    first.publish()
    verdict, published = record()
    assert record() == [verdict, published]
    assert (verdict.event, verdict.decision, verdict.run) == ("verdict", "promote", "run-1")
    assert verdict.evidence == {
        "verdict": first.verdict.sha256,
        "model": first.checkpoint.model_sha256,
        "evaluation": first.report.sha256,
        "data": first.valid.sha256,
    }
    assert (published.event, published.version, published.previous, published.run) == ("publish", "1", None, "run-1")
    assert published.evidence["model"] == first.checkpoint.model_sha256

    second = make_case(seed=1, champion=first.checkpoint, run_id="run-2")
    second.publish()  # a run that was killed before it wrote this down
    back = registry.rollback("tiny", "champion", store, uri, Approval("bob", 1795575600000, "night shift"))
    assert back.version == "1"
    *_, third, fourth = record()
    assert (third.event, third.version, third.previous) == ("publish", "2", "1")
    assert (fourth.event, fourth.version, fourth.by, fourth.reason) == ("rollback", "1", "bob", "night shift")
    assert fourth.at == datetime(2026, 11, 25, 3, tzinfo=UTC)

    MlflowClient(tracking_uri=uri, registry_uri=uri).set_registered_model_alias("tiny", "champion", "2")
    *_, past_us = record()
    assert (past_us.event, past_us.version, past_us.by) == ("promote", "2", "unknown")
    assert record()[-1] == past_us


@pytest.mark.usefixtures("quick")
def test_the_history_says_when_and_by_whom_a_run_published(make_case: Any, capsys: pytest.CaptureFixture[str]) -> None:
    case = make_case(seed=0)
    case.publish()
    record_registry("tiny", "champion", *case.place, "ann", NOON)
    (entry,) = read_journal(case.request.store)
    with pytest.raises(SystemExit):
        main(["models", "history", "tiny", "--store", str(case.request.store.root), "--json"])
    (move,) = json.loads(capsys.readouterr().out)
    assert (move["action"], move["by"]) == ("publish", entry.entry.by)
    assert move["at_ms"] == round(entry.entry.at.timestamp() * 1000)


@pytest.mark.usefixtures("quick")
def test_an_end_that_was_cut_off_is_missed_and_another_journal_is_noted(make_case: Any) -> None:
    case = make_case(seed=0)
    store, uri = case.place
    record_verdict("tiny", case.verdict, case.report, case.valid, "run-1", store, "ann", NOON)
    case.publish()
    record_registry("tiny", "champion", store, uri, "ann", NOON)
    assert checked_journal("tiny", store, uri)[1] == []
    path = store.root / JOURNAL
    whole = path.read_bytes()
    path.write_bytes(whole.splitlines(keepends=True)[0])
    with pytest.raises(
        EnvironmentFailed, match=r"1 entries, and the registry knows entry 2 .* was cut off, or changed"
    ):
        checked_journal("tiny", store, uri)
    path.unlink()
    append(store, [entry()])
    lines, (note,) = checked_journal("tiny", store, uri)
    assert len(lines) == 1
    assert note.startswith("the registry knows 2 entries of another journal")


@pytest.mark.usefixtures("quick")
def test_a_verdict_that_published_nothing_is_missed_too_where_it_is_changed_or_cut_off(make_case: Any) -> None:
    case = make_case(seed=0)
    store, uri = case.place
    name_last_entry("tiny", store, uri)  # nothing to tell, and no registry
    case.publish()
    record_registry("tiny", "champion", store, uri, "ann", NOON)
    record_verdict("tiny", case.verdict, case.report, case.valid, "run-1", store, "ann", NOON)
    name_last_entry("tiny", store, uri)
    path = store.root / JOURNAL
    whole = path.read_bytes()
    first, last = whole.splitlines(keepends=True)
    for changed in (first, first + last.replace(b'"ann"', b'"bob"')):
        path.write_bytes(changed)
        for name in ("tiny", ""):
            with pytest.raises(
                EnvironmentFailed, match=r"the registry knows entry 2 on model tiny .* was cut off, or changed"
            ):
                checked_journal(name, store, uri)
    path.write_bytes(whole)
    assert len(checked_journal("", store, uri)[0]) == 2


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(("decided", "event"), [(True, "reject"), (False, "expire")])
def test_a_candidate_that_waited(make_case: Any, decided: bool, event: str) -> None:
    case = make_case(run_id="20261125-030000-1a2b3c4d")
    gate = case.request.config.gate.model_copy(update={"approval": "required"})
    config = case.request.config.model_copy(update={"gate": gate})
    case = type(case)(
        case.verdict, case.checkpoint, case.report, case.valid, case.features,
        type(case.request)(config, *case.place, case.request.run_id),
    )  # fmt: skip
    case.publish()
    since = datetime(2026, 11, 25, 3, tzinfo=UTC)
    record_registry("tiny", "champion", *case.place, "ann", since)
    if decided:
        registry.reject("tiny", "1", Approval("bob", round(since.timestamp() * 1000) + DAY_MS, "no"), *case.place)
    record_registry("tiny", "champion", *case.place, "ann", since + timedelta(days=20))
    pending, end = (line.entry for line in checked_journal("tiny", *case.place)[0])
    assert (pending.event, pending.at, pending.version) == ("pending", since, "1")
    assert (end.event, end.at) == (event, since + timedelta(days=1 if decided else 14))
    assert (end.by, end.reason) == (
        ("bob", "no") if decided else ("crossmodal", "nobody decided until 2026-12-09 03:00")
    )


def test_who_was_champion_at_a_time(store: Store) -> None:
    def move(event: Any, version: str, hour: int, model: str = "tiny", alias: str = "champion") -> Entry:
        return Entry(at=NOON + timedelta(hours=hour), by="ann", event=event, model=model, version=version, alias=alias)

    lines = append(
        store,
        [move("publish", "1", 0), move("publish", "2", 2), move("promote", "9", 2, alias="other"), move("rollback", "1", 4),
         move("publish", "7", 1, "pets"), entry()],
    )  # fmt: skip

    def at(hours: float) -> dict[str, str | None]:
        moment = NOON + timedelta(hours=hours)
        return {name: found.version for name, found in champions_at(lines, moment, "champion").items()}

    assert at(-1) == {}
    assert at(0) == {"tiny": "1"}
    assert at(3.9) == {"tiny": "2", "pets": "7"}
    assert at(4) == {"tiny": "1", "pets": "7"}


@pytest.mark.usefixtures("quick")
def test_how_often_the_test_rows_have_decided_is_counted(make_case: Any) -> None:
    cases = [make_case(seed=seed, run_id=f"run-{seed}") for seed in range(3)]
    store, _ = cases[0].place
    found = [
        record_verdict("tiny", case.verdict, case.report, case.valid, f"run-{seed}", store, "ann", NOON).test_uses
        for seed, case in [*enumerate(cases), (1, cases[1])]
    ]
    assert found == [0, 1, 2, 1], "the same verdict again is no other"
    assert uses_by_run("tiny", store) == {"run-0": 0, "run-1": 1, "run-2": 2}
    other = record_verdict("other", cases[0].verdict, cases[0].report, cases[0].valid, "r", store, "ann", NOON)
    assert other == (0, True)
    assert [line.entry.test_uses for line in read_journal(store)] == [0, 1, 2, 0]
