"""The explain stage: what a model's answers rest on, from parts that were made before it."""

from __future__ import annotations

from collections.abc import Sequence

from data_contracts.explanations import (
    REPORT,
    DrawnSwap,
    ExplanationPartRef,
    ExplanationRef,
    ExplanationReport,
    FidelityCurve,
    Neighbour,
    RowAttributions,
    RowExplanation,
    RowSwap,
)
from data_contracts.refs import InputName, PreparedChampion
from tasks import progress
from tasks.config import RunConfig
from tasks.explain.fidelity import join_curves
from tasks.explain.figures import input_figures, swap_figures
from tasks.explain.neighbours import find_nearest
from tasks.explain.parts import read_vectors, train_rows
from tasks.explain.sentences import conclude, notes_of
from tasks.explain.study import Study, read_study
from tasks.fingerprint import code_fingerprint
from tasks.samples import Samples
from tasks.store import Store, canonical_json, digest_json, write_text

KIND = "explanations"
MISTAKES = 50
"""Ids of the worst mistakes that are listed."""


def explain_key(
    prepared: PreparedChampion, parts: tuple[ExplanationPartRef, ...], config: RunConfig, store: Store
) -> str:
    """The digest of all that an explanation depends on; the parts' content covers the model's and the features'."""
    return digest_json(
        {
            "parts": [each.uri for each in parts],
            "model": [prepared.champion.name, prepared.champion.version, prepared.champion.model_sha256],
            "valid": [prepared.valid.sha256, prepared.valid.clean.sha256],
            "config": config.subset("explain", "seed"),
            "code": code_fingerprint("explain"),
        }
    )


def explain(
    prepared: PreparedChampion, parts: tuple[ExplanationPartRef, ...], config: RunConfig, store: Store
) -> ExplanationRef:
    """What the answers rest on is stored: explanations.json (data_contracts.explanations.ExplanationReport)."""
    key = explain_key(prepared, parts, config, store)
    if (found := store.find(KIND, key)) is not None:
        return ExplanationRef.model_validate(found.ref)
    report = _put_together(read_study(prepared, parts, config, store))
    content = report.model_dump(mode="json")
    ref = ExplanationRef(
        uri=f"{KIND}/{key}",
        sha256=digest_json(content),
        rows=report.rows,
        parents=(prepared.valid.sha256, *(each.sha256 for each in parts)),
        reason=conclude(report),
        counts=report.counts(),
    )
    made_from = [prepared.valid.uri, *(each.uri for each in parts)]
    with store.create(KIND, key, made_from, code_fingerprint("explain")) as draft:
        write_text(draft.path / REPORT, canonical_json(content))
        draft.ref = ref.model_dump(mode="json")
    return ref


def _put_together(study: Study) -> ExplanationReport:
    progress.report("explain", 0, 2, "figures")
    question, names, seed = study.explainer.question, study.explainer.model.modalities, study.config.seed
    own_groups = None if study.groups is None else [study.groups[row.id] for row in study.values]
    classes = () if question.is_numeric else study.samples.take(study.plan.figures).labels
    figures, dominant = input_figures(names, study.values, classes or [""] * len(study.values), own_groups, seed)
    swapped = [
        swap_figures(
            name, [each for each in study.swaps if each.input == name], study.groups, question.is_numeric, seed
        )
        for name in names
    ]
    fidelity = [_join(name, study.looked, study.groups, seed) for name in names]
    progress.report("explain", 1, 2, "rows")
    gaps = [each.gap for row in study.looked for each in row.attributions if each.gap is not None]
    report = ExplanationReport(
        model=study.prepared.champion.name,
        version=study.prepared.champion.version,
        split=study.config.explain.split,
        rows=len(study.values),
        output=question.says(),
        is_numeric=question.is_numeric,
        groups=None if own_groups is None else len(set(own_groups)),
        dominant=dominant,
        inputs=figures,
        swaps=tuple(filter(None, swapped)),
        fidelity=tuple(filter(None, fidelity)),
        largest_gap=max(gaps, default=None),
        mistakes=tuple(study.samples.ids[place] for place in study.plan.mistakes[:MISTAKES].tolist()),
        wrong=sum(each.wrong for each in study.answers),
        answered=len(study.answers),
        explained=_explained(study),
        values=tuple(study.values),
        notes=notes_of(study.samples, study.prepared, figures, study.config, study.store),
    )
    progress.report("explain", 2, 2)
    return report


def _explained(study: Study) -> tuple[RowExplanation, ...]:
    """The rows that are shown, with all that is known of each."""
    shown = study.samples.take(study.plan.shown)
    rows, nearest = _rows(study, shown), _nearest(study, shown)
    by_id = {row.id: row for row in study.looked}
    return tuple(
        row.model_copy(
            update={
                "answer": study.answers[place].answer,
                "wrong": study.answers[place].wrong,
                "loss": study.answers[place].loss,
                "attributions": by_id[row.id].attributions,
                "neighbours": near,
                "swaps": _swaps_of(row.id, study.swaps),
            }
        )
        for row, place, near in zip(rows, study.plan.shown.tolist(), nearest, strict=True)
    )


def _join(
    name: InputName, looked: Sequence[RowAttributions], groups: dict[str, str] | None, seed: int
) -> FidelityCurve | None:
    """The curves of one input."""
    curves = {row.id: each for row in looked for each in row.curves if each.input == name}
    own = None if groups is None else [groups[row] for row in curves]
    return join_curves(name, list(curves.values()), own, seed)


def _rows(study: Study, rows: Samples) -> list[RowExplanation]:
    """The rows that are shown, with their inputs' values."""
    explainer, encoded = study.explainer, study.encode(rows)
    found = explainer.shapley(encoded, explainer.question.truth(rows))
    places, tables, groups, labels = rows.manifest_rows, rows.tables, rows.groups, rows.labels
    return [
        RowExplanation(
            id=each.id,
            row=places[row],
            table=tables[row],
            group=groups[row],
            label=labels[row],
            answer="",
            wrong=False,
            shapley=each,
        )
        for row, each in enumerate(explainer.rows_of(found, encoded, rows.ids))
    ]


def _nearest(study: Study, rows: Samples) -> list[tuple[Neighbour, ...]]:
    """(N,) the nearest training rows of each."""
    if not study.embeddings:
        return [()] * len(rows)
    chunks = (read_vectors(ref, study.store) for ref in study.embeddings)
    vectors = study.explainer.fusion.fused(study.encode(rows))
    places, cosines = find_nearest(vectors, chunks, study.config.explain.neighbors)
    train = train_rows(study.prepared, study.store)
    ids, labels = train.ids, train.labels
    return [
        tuple(
            Neighbour(id=ids[place], label=labels[place], similarity=round(cosine, 4))
            for place, cosine in zip(*row, strict=True)
        )
        for row in zip(places.tolist(), cosines.tolist(), strict=True)
    ]


def _swaps_of(row: str, swaps: Sequence[DrawnSwap]) -> tuple[RowSwap, ...]:
    found: dict[str, RowSwap] = {}
    for swap in swaps:
        if swap.id == row:
            fields = swap.model_dump(include={"input", "donor", "donor_label", "answer", "flipped"})
            found.setdefault(swap.input, RowSwap(**fields))
    return tuple(found.values())
