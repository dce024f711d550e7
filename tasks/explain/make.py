"""What each part of an explanation holds of its rows."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from pydantic import BaseModel

from data_contracts.explanations import PartName, RowAnswer, RowAttributions, RowCurves
from data_contracts.refs import PreparedChampion
from tasks.config import RunConfig
from tasks.explain.encoded import Encoded, encode_rows
from tasks.explain.explainer import Explainer, MediaRow
from tasks.explain.fidelity import try_orders
from tasks.explain.media_rows import read_media_rows
from tasks.explain.swaps import swap_inputs
from tasks.modeling.inference import load_inputs
from tasks.samples import Samples
from tasks.store import Store

Results = Sequence[BaseModel]


@dataclass(frozen=True)
class Chunk:
    """Rows of a part, and what it is made with."""

    explainer: Explainer
    rows: Samples
    tried: Sequence[bool]
    """(N,) on which orders are tried; of attributions."""
    answers: Mapping[str, str]
    """Id to the model's answer; of swaps."""
    prepared: PreparedChampion
    config: RunConfig
    store: Store

    def encoded(self) -> Encoded:
        """The rows as the encoders see them."""
        return encode_rows(
            self.explainer.model, load_inputs(self.explainer.model, self.rows, self.prepared.features, self.store)
        )


def make_answers(chunk: Chunk) -> Results:
    """The answer to each row with its loss; of numbers none is wrong."""
    rows, question = chunk.rows, chunk.explainer.question
    outputs = chunk.explainer.fusion.outputs(chunk.encoded())
    losses = question.loss(outputs, question.truth(rows))
    return [
        RowAnswer(
            id=each,
            answer=answer,
            wrong=bool(label) and not question.is_numeric and answer != label,
            loss=float(loss) if np.isfinite(loss) else None,
        )
        for each, answer, label, loss in zip(rows.ids, question.answers(outputs), rows.labels, losses, strict=True)
    ]


def make_shapley(chunk: Chunk) -> Results:
    """The exact Shapley values of each row's inputs."""
    explainer, encoded = chunk.explainer, chunk.encoded()
    found = explainer.shapley(encoded, explainer.question.truth(chunk.rows))
    return explainer.rows_of(found, encoded, chunk.rows.ids)


def make_swaps(chunk: Chunk) -> Results:
    """Some swaps of each input of each row; a row without a label has the model's answer in its place."""
    ids, labels = chunk.rows.ids, chunk.rows.labels
    known = [label or chunk.answers[each] for each, label in zip(ids, labels, strict=True)]
    return swap_inputs(chunk.explainer, chunk.encoded(), ids, known, chunk.config.seed)


def make_attributions(chunk: Chunk) -> Results:
    """What the parts of each row's inputs add, and the curves of deletion and insertion where they are tried."""
    media = read_media_rows(chunk.rows, chunk.prepared, chunk.config, chunk.store)
    return [
        _attribute(chunk, each, row, tried) for each, row, tried in zip(chunk.rows.ids, media, chunk.tried, strict=True)
    ]


def _attribute(chunk: Chunk, name: str, row: MediaRow, tried: bool) -> RowAttributions:
    explainer, asked = chunk.explainer, chunk.config.explain
    encoded = explainer.encode(row)
    place = int(explainer.question.places(explainer.fusion.outputs(encoded))[0])
    attributions = []
    curves: list[RowCurves] = []
    for each in row.features:
        if asked.inputs is not None and each not in asked.inputs:
            continue
        reading, found = explainer.attribute(row, each, encoded, place)
        attributions.append(found.attribution)
        without = functools.partial(explainer.scores_without, reading, encoded=encoded, place=place)
        if tried:
            rng = np.random.default_rng(
                [chunk.config.seed, *name.encode("utf-8", "replace")]
            )  # by the row, not its chunk
            drawn = try_orders(each, found.parts, without, rng)
            curves += [] if drawn is None else [drawn]
    return RowAttributions(id=name, attributions=tuple(attributions), curves=tuple(curves))


MAKE: Mapping[PartName, Callable[[Chunk], Results]] = MappingProxyType(
    {"answers": make_answers, "shapley": make_shapley, "swaps": make_swaps, "attributions": make_attributions}
)
"""But for the embeddings, which are arrays."""
