"""The explain stage: what a model's answers rest on, from parts that were made before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from data_contracts.explanations import (
    REPORT,
    DrawnSwap,
    ExplanationPartRef,
    ExplanationRef,
    ExplanationReport,
    FidelityCurve,
    Neighbour,
    PartName,
    RowAnswer,
    RowAttributions,
    RowExplanation,
    RowShapley,
    RowSwap,
)
from data_contracts.refs import InputName, PreparedChampion
from tasks import progress
from tasks.config import RunConfig
from tasks.explain.fidelity import join_curves
from tasks.explain.figures import input_figures, swap_figures
from tasks.explain.neighbours import find_nearest
from tasks.explain.parts import find_plan, read_part, read_vectors, train_rows
from tasks.explain.rows import read_rows
from tasks.explain.sentences import conclude, notes_of
from tasks.fingerprint import code_fingerprint
from tasks.samples import Samples
from tasks.store import Store, canonical_json, digest_json, write_text

if TYPE_CHECKING:
    from tasks.explain.explainer import Explainer

KIND = "explanations"
Parts = Mapping[PartName, Sequence[ExplanationPartRef]]


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
    report = _put_together(prepared, parts, config, store)
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


def _put_together(
    prepared: PreparedChampion, parts: tuple[ExplanationPartRef, ...], config: RunConfig, store: Store
) -> ExplanationReport:
    from tasks.explain.media_rows import load_explainer

    progress.report("explain", 0, 2, "figures")
    by_name: Parts = {part: [each for each in parts if each.part == part] for part in ("answers", *_CHUNKED)}
    samples = read_rows(prepared.valid, config.explain, store)
    plan = find_plan(prepared, by_name["answers"][0], config, store)
    answers = read_part(by_name["answers"][0], RowAnswer, store)
    explainer = load_explainer(prepared, config, store)
    question, seed = explainer.question, config.seed
    values = [row for ref in by_name["shapley"] for row in read_part(ref, RowShapley, store)]
    looked = [row for ref in by_name["attributions"] for row in read_part(ref, RowAttributions, store)]
    swaps = [row for ref in by_name["swaps"] for row in read_part(ref, DrawnSwap, store)]
    groups = _groups(samples)
    own_groups = None if groups is None else [groups[row.id] for row in values]
    classes = () if question.is_numeric else samples.take(plan.figures).labels
    names = explainer.model.modalities
    figures, dominant = input_figures(names, values, classes or [""] * len(values), own_groups, seed)
    swapped = [
        swap_figures(name, [each for each in swaps if each.input == name], groups, question.is_numeric, seed)
        for name in names
    ]
    fidelity = [_join(name, looked, groups, seed) for name in names]
    progress.report("explain", 1, 2, "rows")
    explained = _rows(explainer, samples.take(plan.shown), prepared, store)
    nearest = _nearest(explainer, samples.take(plan.shown), by_name["embeddings"], prepared, config, store)
    by_id = {row.id: row for row in looked}
    explained = [
        row.model_copy(
            update={
                "answer": answers[place].answer,
                "wrong": answers[place].wrong,
                "loss": answers[place].loss,
                "attributions": by_id[row.id].attributions,
                "neighbours": near,
                "swaps": _swaps_of(row.id, swaps),
            }
        )
        for row, place, near in zip(explained, plan.shown.tolist(), nearest, strict=True)
    ]
    gaps = [each.gap for row in looked for each in row.attributions if each.gap is not None]
    report = ExplanationReport(
        model=prepared.champion.name,
        version=prepared.champion.version,
        split=config.explain.split,
        rows=len(values),
        output=question.says(),
        is_numeric=question.is_numeric,
        groups=None if own_groups is None else len(set(own_groups)),
        dominant=dominant,
        inputs=figures,
        swaps=tuple(filter(None, swapped)),
        fidelity=tuple(filter(None, fidelity)),
        largest_gap=max(gaps, default=None),
        mistakes=tuple(samples.ids[place] for place in plan.mistakes[:50].tolist()),
        wrong=sum(each.wrong for each in answers),
        answered=len(answers),
        explained=tuple(explained),
        values=tuple(values),
        notes=notes_of(samples, prepared, figures, config, store),
    )
    progress.report("explain", 2, 2)
    return report


def _join(
    name: InputName, looked: Sequence[RowAttributions], groups: dict[str, str] | None, seed: int
) -> FidelityCurve | None:
    """The curves of one input."""
    curves = {row.id: each for row in looked for each in row.curves if each.input == name}
    own = None if groups is None else [groups[row] for row in curves]
    return join_curves(name, list(curves.values()), own, seed)


_CHUNKED: tuple[PartName, ...] = ("shapley", "embeddings", "attributions", "swaps")


def _groups(samples: Samples) -> dict[str, str] | None:
    """Id to group; a row without one is its own. None where rows have none."""
    known = samples.groups
    if not any(known):
        return None
    return {each: f"group {group}" if group else f"row {each}" for each, group in zip(samples.ids, known, strict=True)}


def _rows(explainer: Explainer, rows: Samples, prepared: PreparedChampion, store: Store) -> list[RowExplanation]:
    """The rows that are shown, with their inputs' values."""
    from tasks.explain.encoded import encode_rows
    from tasks.explain.media_rows import load_inputs

    encoded = encode_rows(explainer.model, load_inputs(explainer, rows, prepared, store))
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


def _nearest(
    explainer: Explainer,
    rows: Samples,
    embeddings: Sequence[ExplanationPartRef],
    prepared: PreparedChampion,
    config: RunConfig,
    store: Store,
) -> list[tuple[Neighbour, ...]]:
    """(N,) the nearest training rows of each."""
    from tasks.explain.encoded import encode_rows
    from tasks.explain.media_rows import load_inputs

    if not embeddings:
        return [()] * len(rows)
    encoded = encode_rows(explainer.model, load_inputs(explainer, rows, prepared, store))
    chunks = (read_vectors(ref, store) for ref in embeddings)
    places, cosines = find_nearest(explainer.fusion.fused(encoded), chunks, config.explain.neighbors)
    train = train_rows(prepared, store)
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
