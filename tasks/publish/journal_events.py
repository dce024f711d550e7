"""What the journal holds: every verdict of a run, every move of an alias, every decision on a candidate that waited."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple, get_args

from data_contracts.refs import ChampionRef, EvalReport, ValidatedRef, Verdict
from tasks.errors import EnvironmentFailed
from tasks.holdout_reuse import count_uses, sample_rows
from tasks.number_format import utc_text
from tasks.publish import approval, versions
from tasks.publish.alias_history import Action, Move, read_moves
from tasks.publish.connection import connected, is_absent
from tasks.publish.journal import Entry, Event, Line, append, head_tag, read_journal, require_complete
from tasks.publish.registry import all_models
from tasks.samples import Samples
from tasks.store import Store

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

MOVES: tuple[Event, ...] = get_args(Action)
UNKNOWN = "unknown"
"""Who moved an alias past us, or without saying."""
_EVIDENCE = {"model": versions.MODEL_SHA256, "card": versions.CARD_SHA256, "data": versions.DATA_SHA256}


class Recorded(NamedTuple):
    """A verdict that the journal holds."""

    test_uses: float
    """How many verdicts on this model its test rows had decided before."""
    is_new: bool
    """Whether it was not there yet; then `name_last_entry`, or nobody misses it when it is cut off."""


def record_verdict(
    name: str, verdict: Verdict, report: EvalReport, valid: ValidatedRef, run: str, store: Store, by: str, at: datetime
) -> Recorded:
    """The verdict is in the journal, once, with what it rests on."""
    digests = {
        "verdict": verdict.sha256,
        "model": verdict.model_sha256,
        "evaluation": report.sha256,
        "data": valid.sha256,
        "champion": report.champion_sha256,
        "corrections": valid.clean.corrections.sha256 if valid.clean.corrections else None,
    }
    entry = Entry(
        at=at, by=by, event="verdict", model=name, decision=verdict.decision, reason=verdict.reason, run=run,
        previous=report.champion_version,
        evidence={key: digest for key, digest in digests.items() if digest is not None},
    )  # fmt: skip
    return _record(entry, lambda: Samples.read(store.path(valid.uri)).of_split("test").ids, store)


def record_live(
    candidate: ChampionRef, verdict: Verdict, report: EvalReport, labels_sha256: str, ids: Sequence[str], store: Store,
    by: str, at: datetime,
) -> Recorded:  # fmt: skip
    """The verdict on live rows, these ids, is in the journal, once."""
    evidence = {
        "verdict": verdict.sha256,
        "model": candidate.model_sha256,
        "evaluation": report.sha256,
        "labels": labels_sha256,
        "champion": str(report.champion_sha256),
    }
    entry = Entry(
        at=at, by=by, event="verdict", model=candidate.name, version=candidate.version,
        previous=report.champion_version, decision=verdict.decision, reason=f"live rows: {verdict.reason}",
        evidence=evidence,
    )  # fmt: skip
    return _record(entry, lambda: ids, store)


def _record(entry: Entry, test_ids: Callable[[], Sequence[str]], store: Store) -> Recorded:
    """A verdict is in the journal, once."""
    with store.work_dir("journal", entry.model):
        verdicts = [
            line.entry for line in _known(store) if line.entry.event == "verdict" and line.entry.model == entry.model
        ]
        known = next((earlier for earlier in verdicts if earlier.evidence == entry.evidence), None)
        if known is not None:
            return Recorded(known.test_uses or 0.0, is_new=False)
        test_rows = sample_rows(test_ids())
        uses = count_uses(test_rows, [earlier.test_rows for earlier in verdicts])
        append(store, [entry.model_copy(update={"test_rows": test_rows, "test_uses": uses})])
        return Recorded(uses, is_new=True)


def uses_by_run(name: str, store: Store) -> dict[str, float]:
    """Run to how many verdicts on this model its test rows had decided before, of runs that the journal knows."""
    entries = [line.entry for line in _known(store) if line.entry.event == "verdict" and line.entry.model == name]
    return {entry.run: entry.test_uses for entry in entries if entry.run and entry.test_uses is not None}


def published_by_run(name: str, store: Store) -> dict[str, Entry]:
    """Run to the entry that says when, and by whose account, it made a version of this model the champion."""
    entries = [line.entry for line in _known(store) if line.entry.event == "publish" and line.entry.model == name]
    return {entry.run: entry for entry in entries if entry.run}


def record_registry(name: str, alias: str, store: Store, tracking_uri: str, by: str, at: datetime) -> None:
    """What the registry says of a model and the journal does not hold yet is in it; a tag of the model names its last entry.

    Done after every move, and again by later runs: what a killed process, or somebody in MLflow's own UI, did in between
    is written down then, with the time and the name that the registry knows, else those of now.
    """
    if is_absent(tracking_uri):
        return
    with connected(store, tracking_uri) as client, store.work_dir("journal", name):
        if not client.search_registered_models(f"name='{name}'"):
            return
        current = versions.aliased_version(client, name, alias)
        tags = client.get_registered_model(name).tags
        moves = read_moves(tags, alias, None if current is None else str(current.version))
        known = versions.all_versions(client, name)
        lines = _known(store)
        about = [line.entry for line in lines if line.entry.model == name]
        evidence = {str(version.version): _evidence(version) for version in known}
        # What a person promoted although a rule of the gate was not passed.
        waiting = {str(version.version): version.tags.get(versions.VERDICT) for version in known}
        overridden = {number: verdict for number, verdict in waiting.items() if verdict in approval.OVERRIDDEN}
        # A journal that begins after the model: when its versions were made is the best that is known of their moves.
        known_at = {str(version.version): version.creation_timestamp for version in known if not about}
        new = [
            Entry(
                at=_when(move, known_at.get(move.version), at), by=move.by or (by if move.run else UNKNOWN),
                event=move.action, model=name, version=move.version, previous=move.previous, alias=alias,
                reason=move.reason or "", run=move.run, evidence=evidence.get(move.version, {}),
                decision=overridden.get(move.version) if move.action == "promote" else None,
            )
            for move in _unrecorded(moves, [entry for entry in about if entry.alias == alias])
        ]  # fmt: skip
        decided = [entry for version in known for entry in _decisions(version, by, at)]
        new += [
            entry for entry in decided if (entry.event, entry.version, entry.at) not in {_identity(e) for e in about}
        ]
        if new:
            lines = append(store, new)
        _name_last(client, name, lines, tags)


def name_last_entry(name: str, store: Store, tracking_uri: str) -> None:
    """A tag of the model names the journal's last entry on it; nothing where the registry does not know the model."""
    if is_absent(tracking_uri):
        return
    with connected(store, tracking_uri) as client, store.work_dir("journal", name):
        for model in client.search_registered_models(f"name='{name}'"):
            _name_last(client, name, _known(store), client.get_registered_model(str(model.name)).tags)


def _name_last(client: MlflowClient, name: str, lines: list[Line], tags: Mapping[str, str]) -> None:
    last = next((line for line in reversed(lines) if line.entry.model == name), None)
    if last is not None and tags.get(head_tag(lines)) != (head := f"{last.entry.number}:{last.sha256}"):
        client.set_registered_model_tag(name, head_tag(lines), head)


def checked_journal(name: str, store: Store, tracking_uri: str) -> tuple[list[Line], list[str]]:
    """The entries on a model, or without a name of the store, oldest first, and notes; the chain is checked, and that the
    registry knows none beyond it.

    EnvironmentFailed where it is broken, or an end is missing.
    """
    lines = read_journal(store)
    notes: list[str] = []
    if not is_absent(tracking_uri):
        with connected(store, tracking_uri) as client:
            for model in client.search_registered_models(f"name='{name}'") if name else all_models(client):
                known = str(model.name)
                others = require_complete(lines, known, client.get_registered_model(known).tags, store)
                notes += others if name else []  # each store of a shared registry has models that others do not know
    return [line for line in lines if not name or line.entry.model in (name, "")], notes


def champions_at(lines: Iterable[Line], moment: datetime, alias: str) -> dict[str, Entry]:
    """Model to the move that put its alias where it stood at `moment`; models without one by then are left out."""
    found: dict[str, Entry] = {}
    for entry in sorted((line.entry for line in lines), key=lambda entry: entry.at):
        if entry.event in MOVES and entry.alias == alias and entry.at <= moment:
            found[entry.model] = entry
    return found


def _known(store: Store) -> list[Line]:
    """The entries of the store; none where the chain is broken: a new journal, which says so, takes all that is known."""
    try:
        return read_journal(store)
    except EnvironmentFailed:
        return []


def _unrecorded(moves: list[Move], recorded: list[Entry]) -> list[Move]:
    """The moves that no entry stands for. Entries are in the order of the moves; some are of moves forgotten since."""
    entries, place, new = [entry for entry in recorded if entry.event in MOVES], 0, []
    for move in moves:
        same = (move.action, move.version, move.previous, move.run, move.reason or "")
        found = [n for n, e in enumerate(entries) if (e.event, e.version, e.previous, e.run, e.reason) == same]
        after = [number for number in found if number >= place]
        if after:
            place = after[0] + 1
        else:
            new.append(move)
    if moves and not new and entries[-1].version != moves[-1].version:  # back to where it once was, past us
        return [Move(action="promote", version=moves[-1].version, previous=entries[-1].version)]
    return new


def _when(move: Move, created_ms: int | None, now: datetime) -> datetime:
    ms = move.at_ms or (created_ms if move.run else None)
    return now if ms is None else _utc(ms)


def _decisions(version: ModelVersion, by: str, at: datetime) -> Iterator[Entry]:
    """A candidate that waits, or waited: since when, and what became of it without a move."""
    state = approval.state_of(version, round(at.timestamp() * 1000))
    if state is None:
        return
    tags = version.tags
    common = {"model": str(version.name), "version": str(version.version), "evidence": _evidence(version)}
    since, until_ms = _utc(int(tags[approval.SINCE_MS])), int(tags[approval.UNTIL_MS])
    yield Entry(at=since, by=by, event="pending", run=tags.get(versions.RUN), **common)
    if state == "rejected":
        decided = _utc(int(tags[approval.AT_MS]))
        yield Entry(at=decided, by=tags[approval.BY], event="reject", reason=tags.get(approval.REASON, ""), **common)
    if state == "expired":
        yield Entry(
            at=_utc(until_ms),
            by="crossmodal",
            event="expire",
            reason=f"nobody decided until {utc_text(until_ms)}",
            **common,
        )


def _identity(entry: Entry) -> tuple[Event, str | None, datetime]:
    return entry.event, entry.version, entry.at


def _evidence(version: ModelVersion) -> dict[str, str]:
    return {key: version.tags[tag] for key, tag in _EVIDENCE.items() if tag in version.tags}


def _utc(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)
