"""An explanation's parts, read back: what its figures and its rows are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, get_args

from data_contracts.explanations import DrawnSwap, ExplanationPartRef, PartName, RowAnswer, RowAttributions, RowShapley
from data_contracts.refs import PreparedChampion
from tasks.config import RunConfig
from tasks.explain.parts import find_plan, read_part
from tasks.explain.rows import Plan, read_rows
from tasks.samples import Samples
from tasks.store import Store

if TYPE_CHECKING:
    from tasks.explain.encoded import Encoded
    from tasks.explain.explainer import Explainer


@dataclass(frozen=True)
class Study:
    """What the parts came to."""

    prepared: PreparedChampion
    config: RunConfig
    store: Store
    explainer: Explainer
    samples: Samples
    plan: Plan
    answers: Sequence[RowAnswer]
    """Of every row."""
    values: Sequence[RowShapley]
    """Of the rows in the figures."""
    looked: Sequence[RowAttributions]
    """Of the rows that are looked at in detail."""
    swaps: Sequence[DrawnSwap]
    embeddings: Sequence[ExplanationPartRef]

    @cached_property
    def groups(self) -> dict[str, str] | None:
        """Id to group; a row without one is its own. None where rows have none."""
        known = self.samples.groups
        if not any(known):
            return None
        pairs = zip(self.samples.ids, known, strict=True)
        return {each: f"group {group}" if group else f"row {each}" for each, group in pairs}

    def encode(self, rows: Samples) -> Encoded:
        """Some of the rows as the model's encoders see them."""
        from tasks.explain.encoded import encode_rows
        from tasks.modeling.inference import load_inputs

        return encode_rows(
            self.explainer.model, load_inputs(self.explainer.model, rows, self.prepared.features, self.store)
        )


def read_study(
    prepared: PreparedChampion, parts: tuple[ExplanationPartRef, ...], config: RunConfig, store: Store
) -> Study:
    """The parts out of the store, with the model and the rows that they are of."""
    from tasks.explain.media_rows import load_explainer

    by_name: dict[PartName, list[ExplanationPartRef]] = {
        part: [each for each in parts if each.part == part] for part in get_args(PartName)
    }
    return Study(
        prepared,
        config,
        store,
        load_explainer(prepared, config, store),
        read_rows(prepared.valid, config.explain, store),
        find_plan(prepared, by_name["answers"][0], config, store),
        read_part(by_name["answers"][0], RowAnswer, store),
        [row for ref in by_name["shapley"] for row in read_part(ref, RowShapley, store)],
        [row for ref in by_name["attributions"] for row in read_part(ref, RowAttributions, store)],
        [row for ref in by_name["swaps"] for row in read_part(ref, DrawnSwap, store)],
        by_name["embeddings"],
    )
