"""Two runs beside each other: settings, data, figures on the same rows, seconds."""

from __future__ import annotations

from typing import Any

from data_contracts.run_record import RunRecord
from flows.history import run_config, run_refs
from tasks.errors import CrossmodalError
from tasks.publish.tracking import flatten
from tasks.reporting.run_diff import Change, Figure, RunDiff, Triple
from tasks.store import Store


def diff_runs(store: Store, a: RunRecord, b: RunRecord) -> RunDiff:
    """What differs between two runs of a store. What one of them did not come to is None."""
    paired, differences = _paired(store, a.run, b.run)
    metrics = dict.fromkeys([*a.metrics, *b.metrics])
    return RunDiff(
        a.run,
        b.run,
        _changes(_settings(store, a.run), _settings(store, b.run)),
        _changes(_data(a), _data(b)),
        [Figure(name, a.metrics.get(name), b.metrics.get(name), differences.get(name)) for name in metrics],
        paired,
        _changes(*({name: f"{value:.1f}" for name, value in record.seconds.items()} for record in (a, b))),
    )


def _settings(store: Store, run: str) -> dict[str, str]:
    try:
        return dict(flatten(run_config(store, run).model_dump(mode="json")))
    except CrossmodalError as error:  # a run of an older release: what it was asked for is not known
        return {"config": str(error)}


def _data(record: RunRecord) -> dict[str, str]:
    counts = {f"rows.{name}": str(count) for name, count in record.rows.items()}
    splits = {f"splits.{name}": str(count) for name, count in record.splits.items()}
    text = {"path": record.data, "content": record.data_sha256, "labels": ", ".join(record.labels) or None}
    named = {name: value for name, value in text.items() if value is not None}
    return {**named, **counts, **splits, "code": record.git_commit or "unknown"}


def _changes(ours: dict[str, str], theirs: dict[str, str]) -> list[Change]:
    names = dict.fromkeys([*ours, *theirs])
    pairs = [Change(name=name, a=ours.get(name), b=theirs.get(name)) for name in names]
    return [change for change in pairs if change.a != change.b]


def _paired(store: Store, a: str, b: str) -> tuple[str, dict[str, Triple]]:
    try:
        ours, theirs = run_refs(store, a), run_refs(store, b)
    except CrossmodalError as error:
        return str(error), {}
    if not (ours.report and ours.checkpoint and theirs.report and theirs.checkpoint):
        return "not both came to an evaluation", {}
    from tasks.evaluate.paired import compare_evaluations

    found = compare_evaluations((theirs.report, theirs.checkpoint), (ours.report, ours.checkpoint), store)
    if isinstance(found, str):
        return found, {}
    return f"b minus a on the same {ours.report.rows} test rows, paired 95 % intervals", found


def as_json(diff: RunDiff) -> dict[str, Any]:
    """For scripts."""
    figures = {
        figure.metric: {"a": figure.a, "b": figure.b, "difference": figure.difference} for figure in diff.figures
    }
    changes = {
        name: {change.name: [change.a, change.b] for change in getattr(diff, name)}
        for name in ("config", "data", "seconds")
    }
    return {"a": diff.a, "b": diff.b, **changes, "figures": figures, "paired": diff.paired}
