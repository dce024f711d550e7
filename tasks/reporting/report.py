"""The run's report: one HTML file that holds everything it shows and names no external address.

What it shows comes from users' data and is hostile until escaped: jinja2 escapes every value, and characters that a
browser would act on or hide (control, bidirectional, zero-width) are spelled out, `⟨U+202E⟩`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from data_contracts.eval_detail import EvalDetail
from data_contracts.refs import (
    CheckpointRef,
    CleanRef,
    EvalReport,
    FeatureRef,
    InputName,
    ValidatedRef,
    Verdict,
    features_by_title,
)
from data_contracts.run_summary import RunSummary
from data_contracts.training_history import StartChoice
from tasks.config import RunConfig
from tasks.holdout_reuse import describe_uses
from tasks.number_format import p_text
from tasks.pages import page_template
from tasks.problems.registry import all_metric_names, get_metric, get_problem, problem_of
from tasks.problems.scoring import say_too_few
from tasks.reporting.artifacts import read_detail, read_history, read_model_card, read_slices
from tasks.reporting.charts import calibration_chart
from tasks.reporting.classical_section import classical_section
from tasks.reporting.confusion_matrix import confusion_chart
from tasks.reporting.formatting import change, figure, percent, points, ruled, seconds, shorten
from tasks.reporting.robustness import robustness_section
from tasks.reporting.sections import (
    baseline_sentence,
    class_table,
    compare_figures,
    modality_chart,
    modality_slices,
    problem_sections,
    profile_section,
    seen_mistakes,
)
from tasks.reporting.slice_tables import slice_section
from tasks.reporting.training_curves import (
    compared_starts,
    trained_heads,
    training_curves,
    training_figures,
    tried_encoders,
    tuned_thresholds,
)
from tasks.reporting.uncertainty import uncertainty_section
from tasks.reporting.unused_rows import unused_rows
from tasks.store import Store, replace_file

if TYPE_CHECKING:
    from jinja2 import Template

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


class RunParts(Protocol):
    """What a run has come to know; a failed or check-only run leaves the later ones None."""

    clean: CleanRef | None
    valid: ValidatedRef | None
    features: dict[InputName, FeatureRef]
    checkpoint: CheckpointRef | None
    report: EvalReport | None
    verdict: Verdict | None
    start_choice: StartChoice | None
    warnings: list[str]
    """What the contracts of other tables than the samples warn of."""


def write_report(path: Path, summary: RunSummary, config: RunConfig, store: Store, parts: RunParts) -> None:
    """`path` holds the report of the run that `summary` (DESIGN.md, "The command line") describes, in one step.

    That of a run that repeats another refers to its report for all that would be the same.
    """
    detail, history = read_detail(parts.report, store), read_history(parts.checkpoint, store)
    found = read_slices(parts.report, store)
    verdict = "failed" if summary.error else summary.verdict or summary.finding
    media_of = parts.clean if summary.repeats is None else None  # of what it repeats, the pictures are in that report
    tone, title = MEANINGS.get(verdict, ("same", str(verdict)))
    page = _template().render(
        summary=summary,
        tone=tone,
        title=title,
        names={name: get_metric(name).title for name in all_metric_names()},
        problem=get_problem(parts.report.problem) if parts.report else None,
        clean=parts.clean,
        checkpoint=parts.checkpoint,
        report=parts.report,
        rules=parts.verdict.rules if parts.verdict else (),
        reuse=describe_uses(summary.test_uses),
        figures=compare_figures(parts.report, detail, config),
        too_few_rows=say_too_few(parts.report.clusters if parts.report else None),
        contributing=modality_chart(parts.report),
        baseline=baseline_sentence(parts.report) if parts.report else "",
        detail=detail,
        confusion=confusion_chart(detail.labels, detail.confusion) if detail and detail.confusion else None,
        calibration=calibration_chart(detail.calibration) if detail and detail.calibration else None,
        **problem_sections(parts.report, detail),
        curves=training_curves(history),
        heads=trained_heads(history),
        flip=None if history is None else history.test_time_flip,
        speed=training_figures(history),
        tried=tried_encoders(summary.encoder_choice),
        starts=compared_starts(history),
        training_notes=(*(parts.start_choice.notes if parts.start_choice else ()), *(history.notes if history else ())),
        thresholds=tuned_thresholds(history, read_model_card(parts.checkpoint, store)),
        worth=uncertainty_section(parts.report, detail, history),
        per_class=class_table(detail),
        slices=modality_slices(detail),
        sliced=slice_section(found, parts.report, config),
        classical=classical_section(parts.report, config, summary.encoder_choice),
        corrupted=robustness_section(found, parts.report, config),
        mistakes=seen_mistakes(detail, media_of, store),
        profile=profile_section(parts.valid, store),
        refused=unused_rows(media_of, parts.valid, store),
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
        p_text=p_text,
    )


def _notices(parts: RunParts, detail: EvalDetail | None) -> list[tuple[str, str]]:
    """(kind, text): warnings of the data first, then notes."""
    warnings = [*(parts.valid.warnings if parts.valid else ()), *parts.warnings]
    if detail and detail.not_finite:
        warnings.append(f"the model gave {detail.not_finite} test rows a probability that is not a number")
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
    refs += [(f"features: {title}", ref.uri, ref.sha256) for title, ref in features_by_title(parts.features).items()]
    later = [("checkpoint", parts.checkpoint), ("evaluation", parts.report), ("verdict", parts.verdict)]
    refs += [(name, ref.uri, ref.sha256) for name, ref in later if ref is not None]
    if parts.checkpoint:
        refs.append(("model.safetensors", f"{parts.checkpoint.uri}/model.safetensors", parts.checkpoint.model_sha256))
    return refs
