"""The run's report: one HTML file that holds everything it shows and names no external address.

What it shows comes from users' data and is hostile until escaped: jinja2 escapes every value, and characters that a
browser would act on or hide (control, bidirectional, zero-width) are spelled out, `⟨U+202E⟩`.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from data_contracts.modalities import INPUTS
from data_contracts.refs import CheckpointRef, CleanRef, EvalReport, FeatureRef, InputName, ValidatedRef, Verdict
from tasks.config import RunConfig
from tasks.errors import DataError, EnvironmentFailed
from tasks.modeling.card import ModelCard, read_card
from tasks.number_format import short_number
from tasks.problems.registry import all_metric_names, figure_text, get_metric, get_problem, problem_of
from tasks.reporting.charts import calibration_chart, confusion_chart, size_chart
from tasks.reporting.problem_charts import (
    column_tables,
    metric_table,
    precision_charts,
    residual_chart,
    scatter_chart,
)
from tasks.reporting.templates import page_template, visible
from tasks.reporting.thumbnails import picture_media
from tasks.reporting.training_curves import training_curves, training_figures, training_notes, training_thresholds
from tasks.reporting.unused_rows import refused_rows
from tasks.store import Store, replace_file

if TYPE_CHECKING:
    from jinja2 import Template

TABLE_ROWS = 40
MEANINGS = {
    "promote": ("good", "Promoted"),
    "reject": ("bad", "Rejected"),
    "inconclusive": ("open", "Inconclusive"),
    "needs-approval": ("open", "Needs approval"),
    "unchanged": ("same", "Unchanged"),
    "failed": ("bad", "Failed"),
    "passed": ("good", "Check passed"),
    "not trainable": ("bad", "Not trainable"),
    None: ("same", "Checked"),
}


UNKNOWN: dict[str, Any] = {
    **dict.fromkeys(("run", "verdict", "reason", "error", "model", "work")),
    "rows": dict.fromkeys(("in", "used", "quarantined", "duplicates"), 0),
    "splits": {},
    "seconds": {},
}


class RunParts(Protocol):
    """What a run has come to know; a failed or check-only run leaves the later ones None."""

    clean: CleanRef | None
    valid: ValidatedRef | None
    features: dict[InputName, FeatureRef]
    checkpoint: CheckpointRef | None
    report: EvalReport | None
    verdict: Verdict | None
    warnings: list[str]
    """What the contracts of other tables than the samples warn of."""


def write_report(path: Path, summary: dict[str, Any], config: RunConfig, store: Store, parts: RunParts) -> None:
    """`path` holds the report of the run that `summary` (DESIGN.md, "The command line") describes, in one step."""
    detail = _read_json(store, parts.report.uri if parts.report else None, "detail.json")
    history = _read_json(store, parts.checkpoint.uri if parts.checkpoint else None, "history.json")
    card = _read_card(store, parts.checkpoint)
    verdict = "failed" if summary.get("error") else summary.get("verdict") or summary.get("finding")
    tone, title = MEANINGS.get(verdict, ("same", str(verdict)))
    page = _template().render(
        summary=UNKNOWN | summary,
        tone=tone,
        title=title,
        names={name: get_metric(name).title for name in all_metric_names()},
        problem=get_problem(parts.report.problem) if parts.report else None,
        clean=parts.clean,
        checkpoint=parts.checkpoint,
        report=parts.report,
        rules=parts.verdict.rules if parts.verdict else (),
        figures=_figures(parts.report, detail, config),
        bars=_bars(parts.report) if parts.report and parts.report.majority_share is not None else [],
        baseline=_baseline_sentence(parts.report) if parts.report else "",
        detail=detail,
        confusion=confusion_chart(detail["labels"], detail["confusion"]) if detail and "confusion" in detail else None,
        calibration=calibration_chart(detail["calibration"]) if detail and "calibration" in detail else None,
        **_of_problem(parts.report, detail),
        curves=training_curves(history),
        speed=training_figures(history),
        training_notes=training_notes(history),
        thresholds=training_thresholds(history, card),
        per_class=_worst_first(detail["per_class"]) if detail and detail.get("per_class") else None,
        slices=[row for row in detail["slices"] if row["by"] == "modalities"]
        if detail and _has_classes(detail)
        else [],
        mistakes=_mistakes(detail, parts.clean, store),
        profile=_profile(parts.valid, store),
        refused=refused_rows(parts.clean, parts.valid, store),
        notices=_notices(parts, detail),
        docs=_docs_links(path),
        fingerprints=_fingerprints(parts),
        config=json.dumps(config.model_dump(mode="json"), indent=2, ensure_ascii=False),
    )
    replace_file(path, page.encode())


def _template() -> Template:
    return page_template(
        Path(__file__).with_name("report.html.j2"),
        shorten=shorten,
        percent=percent,
        figure=figure,
        change=change,
        ruled=ruled,
        unit=lambda metric: get_metric(metric).unit,
        count_labels=lambda target: problem_of(target).count_labels(target),
        points=points,
        seconds=seconds,
    )


def shorten(text: str, longest: int = 20) -> str:
    """A text with its middle left out where it is long: names often differ only at their end."""
    shown = str(visible(text))
    half = (longest - 1) // 2
    return shown if len(shown) <= longest else f"{shown[:half]}…{shown[-half:]}"


def percent(value: float | None, digits: int = 1) -> str:
    """`0.9125` becomes `91.3 %`, None a dash; what is nearly all is not rounded to all: `99.98 %`."""
    if value is None:
        return "–"
    text = f"{100 * value:.{digits}f}"
    return f"{100 * value:.{digits + 2}f} %" if float(text) == 100 and value < 1 - 1e-6 else f"{text} %"


def points(value: float | None) -> str:
    """A difference of shares in percentage points, with its sign."""
    return "–" if value is None else f"{100 * value:+.1f}".replace("-", "−")


def figure(value: float | None, unit: str) -> str:
    """A share in percent, a number in the user's unit with four digits."""
    if unit == "share" or value is None:
        return percent(value)
    return short_number(value).replace("-", "−")


def change(value: float, unit: str) -> str:
    """A difference, with its sign."""
    return points(value) if unit == "share" else short_number(value, sign=True).replace("-", "−")


def ruled(value: float | None, metric: str) -> str:
    """A figure of the gate's table, None a dash."""
    return "–" if value is None else figure_text(value, metric, decimals=4)


def seconds(value: float) -> str:
    """`75.3` becomes `1 min 15 s`."""
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _read_json(store: Store, uri: str | None, name: str) -> dict[str, Any] | None:
    """None where the artifact, or this file of it, is not there."""
    if uri is None or not (path := store.path(uri) / name).is_file():
        return None
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def _read_card(store: Store, checkpoint: CheckpointRef | None) -> ModelCard | None:
    """None where it is not there or damaged: that is the run's own error then, and its report is still written."""
    with contextlib.suppress(DataError, EnvironmentFailed):
        return None if checkpoint is None else read_card(store.path(checkpoint.uri))
    return None


def _figures(report: EvalReport | None, detail: dict[str, Any] | None, config: RunConfig) -> dict[str, Any] | None:
    """The test figures, beside the champion's on the same rows."""
    if report is None:
        return None
    metrics, theirs = report.metrics["test"], report.champion_metrics or {}
    rows = [
        {
            "name": metric.title,
            "value": metrics.get(metric.name),
            "interval": report.intervals.get(metric.name),
            "champion": theirs.get(metric.name),
            "difference": report.differences.get(metric.name),
            "better": "lower" if metric.lower_is_better else "higher",
            "unit": metric.unit,
        }
        for metric in get_problem(report.problem).metrics
    ]
    compared = (detail or {}).get("champion_rows", report.rows)
    return {"rows": rows, "confidence": config.gate.confidence, "compared": compared}


def _baseline_sentence(report: EvalReport) -> str:
    """What one and the same answer to every row would score."""
    metric = get_metric(get_problem(report.problem).baseline_metric)
    value = report.baselines.get(metric.name, report.majority_share)
    return "" if metric.baseline is None else metric.baseline.sentence.format(figure(value, metric.unit))


def _has_classes(detail: dict[str, Any]) -> bool:
    return "confusion" in detail


def _of_problem(report: EvalReport | None, detail: dict[str, Any] | None) -> dict[str, Any]:
    """What only label sets, numbers, or several label columns have to show."""
    found: dict[str, Any] = {"columns": column_tables(report), "tables": [], "precision": []}
    found |= {"scatter": None, "residuals": None}
    if report is None or detail is None or _has_classes(detail):
        return found
    given = [{"value": name, **figures} for name, figures in report.by_modalities.items()]
    found["tables"] = [
        (
            "What each modality contributes",
            "The same model on all test rows when it is given only these modalities.",
            metric_table(given, report.problem),
        ),
        (
            "By what a sample has",
            "Test rows by the set of modalities that is present in them, with everything they have given to the model.",
            metric_table(detail["slices"], report.problem),
        ),
    ]
    if "points" in detail:
        found |= {"scatter": scatter_chart(detail["points"]), "residuals": residual_chart(detail["residuals"])}
    if "pr_curves" in detail:
        found["precision"] = precision_charts(detail["pr_curves"])
    return found


def _bars(report: EvalReport | None) -> list[dict[str, Any]]:
    """Accuracy per set of given modalities, alone first; the full set is marked."""
    found = report.by_modalities if report else {}
    order = list(INPUTS)
    names = sorted(found, key=lambda name: (name.count("+"), [order.index(m) for m in name.split("+") if m in order]))
    return [
        {
            "name": name,
            "accuracy": found[name].get("accuracy"),
            "f1": found[name].get("macro_f1"),
            "all": name == names[-1],
        }
        for name in names
    ]


def _worst_first(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """All classes in their order; of many, those with the lowest F1."""
    if len(rows) <= TABLE_ROWS:
        return {"rows": rows, "left_out": 0}
    return {"rows": sorted(rows, key=lambda row: row["f1"])[:TABLE_ROWS], "left_out": len(rows) - TABLE_ROWS}


def _mistakes(detail: dict[str, Any] | None, clean: CleanRef | None, store: Store) -> list[dict[str, Any]]:
    if detail is None or clean is None:
        return []
    pictures = picture_media(detail["mistakes"], clean.media, store)
    return [{**mistake, "seen": seen} for mistake, seen in zip(detail["mistakes"], pictures, strict=True)]


def _profile(valid: ValidatedRef | None, store: Store) -> dict[str, Any] | None:
    """What validate wrote of the data, with the histograms as bars to draw; None for a store that has none."""
    profile = _read_json(store, valid.uri if valid else None, "profile.json")
    if profile is None:
        return None
    modalities = [
        {**modality, "chart": size_chart(modality["sizes"]) if modality["sizes"] else None}
        for modality in profile["modalities"]
    ]
    largest = max((row["rows"] for row in profile["classes"]["rows"]), default=1)
    numbers = size_chart(profile["numbers"]) if profile.get("numbers") else None
    return {**profile, "modalities": modalities, "largest": largest, "numbers": numbers}


def _notices(parts: RunParts, detail: dict[str, Any] | None) -> list[tuple[str, str]]:
    """(kind, text): warnings of the data first, then notes."""
    warnings = [*(parts.valid.warnings if parts.valid else ()), *parts.warnings]
    if detail and detail["not_finite"]:
        warnings.append(f"the model gave {detail['not_finite']} test rows a probability that is not a number")
    notes = parts.clean.notes if parts.clean else ()
    return [("warning", text) for text in warnings] + [("note", text) for text in notes]


def _docs_links(path: Path) -> list[tuple[str, str]]:
    """(table, relative link) of each of the Data Docs that lie beside the report."""
    pages = sorted(path.parent.glob("docs/*/index.html"))
    return [(page.parent.name, page.relative_to(path.parent).as_posix()) for page in pages]


def _fingerprints(parts: RunParts) -> list[tuple[str, str, str]]:
    """(what, where in the store, sha256) of every artifact of the run."""
    named = [("samples", parts.clean), ("validated samples", parts.valid)]
    refs = [(name, ref.uri, ref.sha256) for name, ref in named if ref is not None]
    refs += [(f"features: {name}", ref.uri, ref.sha256) for name, ref in parts.features.items()]
    later = [("checkpoint", parts.checkpoint), ("evaluation", parts.report), ("verdict", parts.verdict)]
    refs += [(name, ref.uri, ref.sha256) for name, ref in later if ref is not None]
    if parts.checkpoint:
        refs.append(("model.safetensors", f"{parts.checkpoint.uri}/model.safetensors", parts.checkpoint.model_sha256))
    return refs
