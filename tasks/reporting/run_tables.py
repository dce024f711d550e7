"""The tables of runs and models, for the Prefect UI and for a terminal alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from data_contracts.recognition import Recognition
from data_contracts.refs import (
    CheckpointRef,
    CleanRef,
    DriftTest,
    EvalReport,
    FeatureRef,
    InputName,
    Ref,
    RuleResult,
    Verdict,
    features_by_title,
)
from data_contracts.run_record import RunRecord
from data_contracts.run_summary import STAGES, RunSummary, ScoredVersion
from tasks.display_table import Cell, DisplayTable
from tasks.number_format import p_text, utc_text
from tasks.problems.metric import TOO_FEW_ROWS
from tasks.problems.registry import PROBLEMS, figure_text, problem_with

MODEL_METRICS = tuple(
    dict.fromkeys([*(one.headline[0] for one in PROBLEMS.values()), *(one.gate_metric for one in PROBLEMS.values())])
)
"""The figures that a list of models shows, those of them that any of its models has."""
_ONLY_FOR_SCRIPTS = frozenset({"metrics", "created", "uri", "sha256", "parents", "rows"})


class StagesOfRun(Protocol):
    """How far a run came, and how long each stage took."""

    clean: CleanRef | None
    features: dict[InputName, FeatureRef]
    checkpoint: CheckpointRef | None
    report: EvalReport | None
    seconds: dict[str, float]

    def reused(self, ref: Ref | None) -> bool:
        """Whether the store held a stage's result before this run."""


def metrics_table(summary: RunSummary) -> DisplayTable:
    """One line for the test set, one for each set of modalities, rounded."""
    lines = {"all": summary.metrics["test"], **summary.by_modalities}
    names = dict.fromkeys(metric for line in lines.values() for metric in line)
    return DisplayTable.of(
        {"given": subset, **{metric: _rounded(line.get(metric), metric) for metric in names}}
        for subset, line in lines.items()
    )


def figures_table(summary: RunSummary) -> DisplayTable:
    """The figures of the problem with all modalities given, and with each only."""
    full = {"all modalities": summary.metrics["test"]}
    single = {f"{name} only": line for name, line in summary.by_modalities.items() if "+" not in name}
    names = [metric.name for metric in problem_with(summary.metrics["test"]).metrics if metric.compact]
    return DisplayTable.of(
        {"test": subset, **{name: _text(line.get(name), name, decimals=4) for name in names}}
        for subset, line in (full | (single if len(single) > 1 else {})).items()
    )


def gate_table(verdict: Verdict) -> DisplayTable:
    """One line a rule, led by its outcome and the sentence that explains it."""
    return rules_table(verdict.rules)


def rules_table(rules: Iterable[RuleResult]) -> DisplayTable:
    """The same of rules."""
    return DisplayTable.of(
        {
            "outcome": rule.outcome,
            "sentence": rule.sentence or rule.detail,
            "rule": rule.rule,
            "value": _rounded(rule.value, rule.metric),
            "interval": rule.interval
            and " to ".join(figure_text(end, rule.metric, decimals=4) for end in rule.interval),
            "threshold": _rounded(rule.threshold, rule.metric),
            "baseline": rule.baseline,
            "n": rule.n,
            "clusters": rule.clusters,
            "detail": rule.detail,
        }
        for rule in rules
    )


def work_table(run: StagesOfRun) -> DisplayTable:
    """One line a stage: computed or reused, how many samples, and its seconds."""
    results: dict[str, Ref | None] = {"ingest": run.clean, "train": run.checkpoint, "evaluate": run.report}
    rows: list[dict[str, Cell]] = []
    for stage in STAGES[:-1]:
        seconds = round(run.seconds.get(stage, 0.0), 1)
        if stage == "extract":
            rows += [
                {"stage": f"extract {title}", "computed": ref.computed, "reused": ref.reused, "seconds": None}
                for title, ref in features_by_title(run.features).items()
            ]
        if (ref := results.get(stage)) is not None:
            reused = run.reused(ref)
            counts = {"computed": 0 if reused else ref.rows, "reused": ref.rows if reused else 0}
            rows.append({"stage": stage, **counts, "seconds": seconds})
        elif stage == "extract" or stage in run.seconds:
            rows.append({"stage": stage, "computed": None, "reused": None, "seconds": seconds})
    return DisplayTable.of(rows)


def recognition_table(recognition: Recognition) -> DisplayTable:
    """One line for each thing that was recognised: column, role, how it was found, an example."""
    rows = [(line.column, line.role, line.how, line.example) for line in recognition.found]
    return DisplayTable(("column", "role", "how found", "example"), tuple(rows))


def rows_table(summary: RunSummary, reasons: Mapping[str, int]) -> DisplayTable:
    """How many rows were read, used, quarantined for each reason, dropped, and how the used ones were divided."""
    rows = summary.rows
    lines = [("read", rows.rows_in), ("used", rows.used)]
    lines += [(f"used: {name}", count) for name, count in summary.splits.items()]
    lines += [("duplicates", rows.duplicates), ("quarantined", rows.quarantined)]
    lines += rows.set_aside().items()
    lines += [(f"quarantined: {name}", count) for name, count in sorted(reasons.items(), key=lambda r: (-r[1], r[0]))]
    return DisplayTable(("rows", "count"), tuple(lines))


def drift_table(tests: Iterable[DriftTest]) -> DisplayTable:
    """One line a test, the most certain first."""
    return DisplayTable.of(
        {
            "what": test.name,
            "drift": test.drifted,
            "before": test.before,
            "now": test.after,
            "effect": f"{test.effect:.3f}",
            "p": p_text(test.p_holm),
        }
        for test in tests
    )


def scores_table(versions: Iterable[ScoredVersion]) -> DisplayTable:
    """One line a model version: what became of the rows of the data."""
    return DisplayTable.of(
        {
            "version": one.version,
            "rows": one.rows,
            "already scored": one.known,
            "repeated": one.repeated,
            "new": one.scored + one.refused,
            "scored": one.scored,
            "copied": one.copied,
            "refused": one.refused,
            "parts": one.parts,
            "folder": one.folder,
        }
        for one in versions
    )


def runs_table(records: Iterable[RunRecord]) -> DisplayTable:
    """One line a run."""
    return DisplayTable.of(
        {
            "run": record.run,
            "started (UTC)": f"{record.started:%Y-%m-%d %H:%M}",
            "flow": record.flow,
            "model": record.model,
            "verdict": record.verdict or record.status,
            "version": record.version,
            "rows": record.rows.get("used"),
            "figure": _headline(record),
            "seconds": f"{record.seconds.get('total', 0):.1f}" if record.seconds else None,
        }
        for record in records
    )


def _headline(record: RunRecord) -> str | None:
    """The first figure of the run's problem."""
    name = problem_with(record.metrics).metrics[0].name
    value = record.metrics.get(name)
    return None if value is None else f"{name} {figure_text(value, name)}"


def run_facts(record: RunRecord) -> list[tuple[str, str | None]]:
    """(name, value) of all that is known of a run but where its report lies."""
    figures = [
        (name, figure_text(value, name) + _interval(record, name))
        for name, value in record.metrics.items()
        if value is not None
    ]
    model = f"{record.model} version {record.version}" if record.model and record.version else record.model
    return [
        ("run", record.run),
        ("flow", record.flow),
        ("status", record.status),
        ("verdict", record.verdict),
        ("reason", record.reason),
        ("model", model),
        ("sha256", record.sha256),
        ("started", record.started.isoformat(timespec="seconds")),
        ("finished", record.finished.isoformat(timespec="seconds") if record.finished else None),
        ("data", record.data),
        ("content", record.data_sha256),
        ("labels", ", ".join(record.labels[:20])),
        ("rows", ", ".join(f"{count} {name}" for name, count in record.rows.items())),
        ("splits", ", ".join(f"{name} {count}" for name, count in record.splits.items())),
        *figures,
        ("seconds", ", ".join(f"{name} {value:.1f}" for name, value in record.seconds.items() if value >= 0.05)),
        ("commit", record.git_commit),
        ("Prefect run", record.prefect_run_id),
    ]


def _interval(record: RunRecord, name: str) -> str:
    found = record.intervals.get(name)
    if found is None:
        return f" ({TOO_FEW_ROWS})" if record.intervals else ""
    return f" [{figure_text(found[0], name)}, {figure_text(found[1], name)}]"


def models_table(entries: Sequence[Mapping[str, Any]]) -> DisplayTable:
    """Entries of the registry for people: digests cut short, a few figures instead of all, what only scripts need left out."""
    figures = [
        name for name in MODEL_METRICS if any((one.get("metrics") or {}).get(name) is not None for one in entries)
    ]
    return DisplayTable.of(
        {
            name.removesuffix("_ms"): _entry_cell(name, value)
            for name, value in one.items()
            if name not in _ONLY_FOR_SCRIPTS
        }
        | {name: _text((one.get("metrics") or {}).get(name), name, decimals=4) for name in figures}
        for one in entries
    )


def journal_table(entries: Sequence[Mapping[str, Any]]) -> DisplayTable:
    """Entries of the journal for people: times to the second, digests cut short; a column where any entry has it."""
    rows = [
        {
            **entry,
            "at": f"{entry['at']:%Y-%m-%d %H:%M:%S}",
            "evidence": ", ".join(f"{name} {digest[:12]}…" for name, digest in entry["evidence"].items()),
            "parent": None,
            "test_rows": None,  # a sample for scripts
        }
        for entry in entries
    ]
    names = [name for name in dict.fromkeys(key for row in rows for key in row) if any(row.get(name) for row in rows)]
    return DisplayTable.of({name: row.get(name) for name in names} for row in rows)


def _entry_cell(name: str, value: object) -> object:
    if name.endswith("_ms") and isinstance(value, int):
        return utc_text(value)
    if isinstance(value, dict):
        return ", ".join(f"{key}={item}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    if name in ("model_sha256", "signed_by") and isinstance(value, str):
        return f"{value[:12]}…"
    return value


def _text(value: float | None, metric: str, decimals: int = 3) -> str | None:
    return None if value is None else figure_text(value, metric, decimals=decimals)


def _rounded(value: float | None, metric: str) -> float | None:
    return None if value is None else float(figure_text(value, metric, decimals=4))
