"""Two runs beside each other: settings, data, figures on the same rows, seconds."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from data_contracts.run_record import RunRecord
from flows.history import RUNS, run_config, run_refs
from tasks.errors import CrossmodalError
from tasks.publish.tracking import flatten
from tasks.reporting.run_comparison import write_run_comparison
from tasks.reporting.run_diff import Change, Figure, RunDiff, Triple
from tasks.store import Store


def diff_runs(store: Store, a: RunRecord, b: RunRecord) -> RunDiff:
    """What differs between two runs of a store. What one of them did not come to is None."""
    paired, differences = _paired(store, a.run, b.run)
    metrics = dict.fromkeys([*a.metrics, *b.metrics])
    return RunDiff(
        a.run,
        b.run,
        _changes(settings_of(store, a.run), settings_of(store, b.run)),
        _changes(_data(a), _data(b)),
        [Figure(name, a.metrics.get(name), b.metrics.get(name), differences.get(name)) for name in metrics],
        paired,
        _changes(*({name: f"{value:.1f}" for name, value in record.seconds.items()} for record in (a, b))),
    )


def settings_of(store: Store, run: str) -> dict[str, str]:
    """Dotted key to value; of encoders that the run chose what it chose, a blend, too, which no config says."""
    try:
        settings = dict(flatten(run_config(store, run).model_dump(mode="json")))
        choice = run_refs(store, run).encoder_choice
    except CrossmodalError as error:  # a run of an older release: what it was asked for is not known
        return {"config": str(error)}
    chosen = {} if choice is None else {f"encoders.{kind}": name for kind, name in choice.encoders.items()}
    return settings | chosen


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
    from tasks.evaluate.comparison import ComparisonRows
    from tasks.evaluate.paired import compare_evaluations

    clusters = None if ours.valid is None else ComparisonRows.read(ours.valid, store).cluster_of_ids
    evaluated = ((theirs.report, theirs.checkpoint), (ours.report, ours.checkpoint))
    found = compare_evaluations(*evaluated, store, clusters)
    if isinstance(found, str):
        return found, {}
    by = "" if found.clusters is None else f" in {found.clusters:,} clusters"
    others = (
        f" ({found.other_rows:,} more take no part: in one of the runs only, or under another label)"
        if found.other_rows
        else ""
    )
    return f"b minus a on the same {found.rows:,} test rows{by}{others}, paired 95 % intervals", found.differences


def write_page(store: Store, diff: RunDiff, a: RunRecord, b: RunRecord, out: Path | None = None) -> Path:
    """The two runs side by side are a page at `out`, or in the folder of run `b`."""
    path = (out or store.root / RUNS / b.run / f"compare-{a.run}.html").absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    root = store.root.absolute()
    links = [run.report and os.path.relpath(root / run.report, path.parent) for run in (a, b)]
    write_run_comparison(path, diff, a, b, links)
    return path


def as_json(diff: RunDiff) -> Mapping[str, object]:
    """For scripts."""
    figures = {
        figure.metric: {"a": figure.a, "b": figure.b, "difference": figure.difference} for figure in diff.figures
    }
    changes = {
        name: {change.name: [change.a, change.b] for change in getattr(diff, name)}
        for name in ("config", "data", "seconds")
    }
    return {"a": diff.a, "b": diff.b, **changes, "figures": figures, "paired": diff.paired}
