"""The audit stage: what rows say of each other, from views and folds that were made before it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_contracts.audit import (
    KINDS,
    REPORT,
    AuditReport,
    ClassFigures,
    Confusion,
    FoldRef,
    Shortcut,
    ToLabel,
    ViewFigures,
    ViewRef,
)
from data_contracts.refs import AuditRef, CleanRef, InputName, RawRef, ValidatedRef
from tasks import progress
from tasks.audit.circumstances import Circumstance, circumstances
from tasks.audit.confident_learning import ConfidentLearning, learn, self_confidence
from tasks.audit.findings import Evidence, choose_listed, find_rows
from tasks.audit.folds import assign_folds
from tasks.audit.fusing import fuse
from tasks.audit.oddities import ambiguity, conflicts, underperforming
from tasks.audit.out_of_fold import OutOfFold, join_folds
from tasks.audit.rows import AuditRows, read_audit_rows
from tasks.audit.shortcuts import find_shortcuts
from tasks.audit.views import View, read_view
from tasks.config import RunConfig
from tasks.fingerprint import code_fingerprint
from tasks.modalities import spec_of
from tasks.store import Store, canonical_json, digest_json, write_text

KIND = "audits"
FUSED = "all inputs"
MOST_CONFUSIONS = 20
Floats = NDArray[np.float64]


def audit_key(
    valid: ValidatedRef, pool: CleanRef | None, raw: RawRef, folds: tuple[FoldRef, ...], config: RunConfig
) -> str:
    """The digest of all that an audit depends on; the folds' content covers the views' and the features'."""
    modules = sorted({module for name in valid.clean.modalities for module in spec_of(name).statistics_modules})
    return digest_json(
        {
            "valid": [
                valid.sha256,
                valid.clean.sha256,
                valid.clean.uri,
            ],  # where rows stand, and their own columns, too
            "pool": None if pool is None else pool.sha256,
            "raw": raw.uri,
            "folds": [each.sha256 for each in folds],
            "config": config.subset("audit", "seed"),
            "code": code_fingerprint("audit", modules=tuple(modules)),
        }
    )


def audit(
    valid: ValidatedRef,
    pool: CleanRef | None,
    raw: RawRef,
    views: dict[InputName, ViewRef],
    folds: tuple[FoldRef, ...],
    config: RunConfig,
    store: Store,
) -> AuditRef:
    """What is odd about the rows is stored: audit.json (data_contracts.audit.AuditReport)."""
    key = audit_key(valid, pool, raw, folds, config)
    if (found := store.find(KIND, key)) is not None:
        return AuditRef.model_validate(found.ref)
    report = _examine(valid, pool, raw, views, folds, config, store)
    content = report.model_dump(mode="json")
    ref = AuditRef(
        uri=f"{KIND}/{key}",
        sha256=digest_json(content),
        rows=report.rows,
        parents=(valid.sha256, *(each.sha256 for each in folds)),
        reason=explain(report),
        counts=report.counts(),
    )
    made_from = [valid.uri, raw.uri, *(each.uri for each in folds)]
    with store.create(KIND, key, made_from, code_fingerprint("audit")) as draft:
        write_text(draft.path / REPORT, canonical_json(content))
        draft.ref = ref.model_dump(mode="json")
    return ref


@dataclass(frozen=True)
class _ScoredView:
    """Probabilities by one input or by all, and what confident learning makes of them."""

    out_of_fold: OutOfFold
    learned: ConfidentLearning
    known: NDArray[np.bool_]
    """(N,) rows that it says something of."""


def _examine(
    valid: ValidatedRef,
    pool: CleanRef | None,
    raw: RawRef,
    views: Mapping[InputName, ViewRef],
    folds: Sequence[FoldRef],
    config: RunConfig,
    store: Store,
) -> AuditReport:
    steps = 4
    progress.report("audit", 0, steps, "label errors")
    asked = config.audit
    rows = read_audit_rows(valid, pool, asked.folds, store)
    by_input = {
        name: join_folds([each for each in folds if each.input == name], rows, store)
        for name in dict.fromkeys(each.input for each in folds)
    }
    scored = {name: _score_view(each, rows) for name, each in by_input.items()}
    fused = _score_view(fuse(list(by_input.values()), rows.given), rows)
    progress.report("audit", 1, steps, "outliers and contradictions")
    loaded = {name: read_view(ref, store) for name, ref in views.items()}
    evidence = _gather(rows, scored, fused, loaded, config.seed)
    findings = find_rows(evidence)
    progress.report("audit", 2, steps, "spurious correlations")
    around = circumstances(rows, valid, raw, store)
    shortcuts = _shortcuts(around, rows, config)
    progress.report("audit", 3, steps, "groups")
    wrong = fused.learned.suggested != rows.given
    report = AuditReport(
        rows=len(rows.given),
        classes=len(rows.labels),
        left_out=rows.left_out,
        folds=asked.folds,
        noise=fused.learned.total_noise(rows.given),
        views=tuple(_figures(name, each, rows) for name, each in [*scored.items(), (FUSED, fused)]),
        by_class=_by_class(fused.learned, rows),
        confusions=_confusions(fused.learned, rows),
        conflicts=tuple(evidence.conflicts),
        shortcuts=shortcuts,
        groups=tuple(underperforming(around, rows.labels, rows.given, wrong, asked.alpha)),
        unlabelled=len(rows.pool),
        to_label=_to_label(fused.out_of_fold, rows, asked.max_listed),
        findings=tuple(findings),
        listed=choose_listed(findings, asked.max_listed),
        notes=_notes(rows, asked.folds),
    )
    progress.report("audit", steps, steps)
    return report


def _gather(
    rows: AuditRows, scored: Mapping[str, _ScoredView], fused: _ScoredView, views: Mapping[InputName, View], seed: int
) -> Evidence:
    return Evidence(
        rows=rows,
        fused=fused.learned,
        fused_probabilities=fused.out_of_fold.probabilities,
        probabilities={name: each.out_of_fold.probabilities for name, each in scored.items()},
        thresholds={name: each.learned.thresholds for name, each in scored.items()},
        views=views,
        conflicts=conflicts(rows.near, dict(zip(rows.samples.ids, rows.samples.labels, strict=True))),
        seed=seed,
    )


def _shortcuts(around: Sequence[Circumstance], rows: AuditRows, config: RunConfig) -> tuple[Shortcut, ...]:
    asked = config.audit
    division = assign_folds(rows.given, rows.clusters, asked.folds, config.seed)
    return tuple(
        find_shortcuts(
            around, rows.labels, rows.given, division, rows.clusters, asked.alpha, asked.min_effect, config.seed
        )
    )


def _score_view(whole: OutOfFold, rows: AuditRows) -> _ScoredView:
    known = ~np.isnan(whole.probabilities[:, 0])
    # What nothing is known of is as likely to be any class: it is flagged by no threshold.
    filled = np.where(known[:, None], whole.probabilities, 1 / len(rows.labels))
    learned = learn(filled[known], rows.given[known])
    flagged, suggested = np.zeros(len(known), bool), rows.given.copy()
    flagged[known], suggested[known] = learned.flagged, learned.suggested
    return _ScoredView(whole, ConfidentLearning(learned.thresholds, learned.joint, flagged, suggested), known)


def _figures(name: str, each: _ScoredView, rows: AuditRows) -> ViewFigures:
    probabilities, given = each.out_of_fold.probabilities[each.known], rows.given[each.known]
    if not len(given):
        return ViewFigures(view=name, rows=0, accuracy=0.0, log_loss=0.0)
    likely = np.maximum(self_confidence(probabilities, given), 1e-12)
    return ViewFigures(
        view=name,
        rows=len(given),
        accuracy=float((probabilities.argmax(axis=1) == given).mean()),
        log_loss=float(-np.log(likely).mean()),
    )


def _by_class(learned: ConfidentLearning, rows: AuditRows) -> tuple[ClassFigures, ...]:
    found = []
    for place, label in enumerate(rows.labels):
        own = rows.given == place
        found.append(
            ClassFigures(
                label=label,
                rows=int(own.sum()),
                errors=int(learned.flagged[own].sum()),
                noise=float(learned.noise[place]),
                accuracy=float((learned.suggested[own] == place).mean()),
            )
        )
    return tuple(found)


def _confusions(learned: ConfidentLearning, rows: AuditRows) -> tuple[Confusion, ...]:
    flagged = np.flatnonzero(learned.flagged)
    pairs = Counter(zip(rows.given[flagged].tolist(), learned.suggested[flagged].tolist(), strict=True))
    ranked = sorted(pairs.items(), key=lambda item: (-item[1], item[0]))[:MOST_CONFUSIONS]
    return tuple(
        Confusion(label=rows.labels[given], suggested=rows.labels[suggested], rows=count)
        for (given, suggested), count in ranked
    )


def _to_label(found: OutOfFold, rows: AuditRows, most: int) -> tuple[ToLabel, ...]:
    """Rows without a label, those between whose two most likely classes the models hesitate most first."""
    known = np.flatnonzero(~np.isnan(found.pool).any(axis=(0, 2)))
    if not len(known):
        return ()
    mean, margins, disagreement = ambiguity(found.pool[:, known])
    ids, places, tables = rows.pool.ids, rows.pool.manifest_rows, rows.pool.tables
    return tuple(
        ToLabel(
            id=ids[known[each]],
            row=places[known[each]],
            table=tables[known[each]],
            margin=float(margins[each]),
            candidates=tuple(rows.labels[place] for place in np.argsort(-mean[each])[:2]),
            disagreement=float(disagreement[each]),
        )
        for each in np.argsort(margins, kind="stable")[:most].tolist()
    )


def _notes(rows: AuditRows, folds: int) -> tuple[str, ...]:
    notes = []
    if rows.left_out:
        listed = ", ".join(f"{label!r} ({count})" for label, count in list(rows.left_out.items())[:5])
        notes.append(
            f"{sum(rows.left_out.values()):,} rows of {len(rows.left_out)} classes with fewer than {2 * folds} rows were not "
            f"scored: {listed}"
        )
    clusters = len(np.unique(rows.clusters))
    if clusters < 4 * folds:
        notes.append(
            f"the rows come in {clusters} groups: each fold holds few of them, and a row is scored by other groups only"
        )
    return tuple(notes)


def explain(report: AuditReport) -> str:
    """What was found, as one readable line."""
    counts = report.counts()
    errors = counts[KINDS[0]]
    parts = [f"{errors:,} of {report.rows:,} labels look wrong (estimated noise {report.noise:.1%})"]
    named = {
        KINDS[1]: "rows nearly repeat one with another label",
        KINDS[2]: "rows whose inputs disagree",
        KINDS[3]: "outliers",
        "underperforming group": "groups are answered worse than the rest",
        "row to label": "rows worth labelling next",
    }
    parts += [f"{counts[kind]:,} {what}" for kind, what in named.items() if counts.get(kind)]
    found = [each.name for each in report.shortcuts if each.found]
    parts += [f"the label can be predicted from {', '.join(found[:3])}"] if found else []
    return "; ".join(parts)
