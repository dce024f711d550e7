"""A fit as an artifact: its answers to the test rows, what it cost, and how it is scored beside others on the same rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from data_contracts.comparison import ANSWERS, FitCost, FitRef, Method, Value
from data_contracts.refs import CheckpointRef, Target, ValidatedRef
from tasks.compare.classical import Fitted
from tasks.errors import DataError
from tasks.fingerprint import code_fingerprint
from tasks.problems.registry import problem_of
from tasks.problems.scoring import AnyScorer
from tasks.samples import Samples
from tasks.store import Store, digest_file, digest_json

KIND = "fits"


@dataclass(frozen=True)
class Answers:
    """What a fitted variant says of the test rows, in the samples' order."""

    outputs: NDArray[np.floating[Any]]
    """(T, width of the target)"""
    target: Target
    """The first label column, as the variant knows it."""
    tuned: tuple[float, ...] | None
    chosen: dict[str, Value]
    cost: FitCost
    checkpoint: CheckpointRef | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, fitted: Fitted, target: Target, cost: FitCost) -> Answers:
        """Those of a model that is no network of the pipeline, all of whose parameters are trained."""
        whole = cost.model_copy(update={"parameters": fitted.parameters, "trainable": fitted.parameters})
        return cls(fitted.outputs, target, None, dict(fitted.chosen), whole, notes=fitted.notes)


def keep_fit(key: str, method: Method, seed: int, answers: Answers, valid: ValidatedRef, store: Store) -> FitRef:
    """The fit as an artifact. Its digest covers what it answers, not what it cost."""
    test = Samples.read(store.path(valid.uri)).of_split("test")
    made_from = [valid.uri, *([answers.checkpoint.uri] if answers.checkpoint else [])]
    parents = (valid.sha256, *([answers.checkpoint.sha256] if answers.checkpoint else []))
    with store.create(KIND, key, made_from, code_fingerprint("compare")) as draft:
        table = pa.table(
            {
                "id": pa.array(test.ids, pa.string()),
                "label": pa.array(test.targets(0, ""), pa.string()),
                "outputs": pa.array(list(answers.outputs.astype(np.float32)), pa.list_(pa.float32())),
            }
        )
        pq.write_table(table, draft.path / ANSWERS, compression="zstd")
        content = {"answers": digest_file(draft.path / ANSWERS), "chosen": answers.chosen, "tuned": answers.tuned}
        ref = FitRef(
            uri=f"{KIND}/{key}",
            sha256=digest_json(content),
            rows=len(test),
            parents=parents,
            method=method,
            seed=seed,
            target=answers.target,
            tuned=answers.tuned,
            chosen=answers.chosen,
            checkpoint=answers.checkpoint,
            cost=answers.cost,
            notes=answers.notes,
        )
        draft.ref = ref.model_dump(mode="json")
    return ref


def find_fit(key: str, store: Store) -> FitRef | None:
    """The fit, where the store has it."""
    found = store.find(KIND, key)
    return None if found is None else FitRef.model_validate(found.ref)


@dataclass(frozen=True)
class TestRows:
    """The rows that all variants are compared on."""

    ids: list[str]
    cells: list[str | None]
    """(T,) the true texts of the first label column."""
    labels: tuple[str, ...]
    """All labels to score over."""

    @classmethod
    def read(cls, valid: ValidatedRef, fits: Sequence[FitRef], store: Store) -> TestRows:
        """Those of the reference, scored over the labels of all fits, the first one's first."""
        test = Samples.read(store.path(valid.uri)).of_split("test")
        cells = test.targets(0, "")
        known = dict.fromkeys(label for fit in fits for label in fit.target.labels)
        named = {label for cell in cells if cell is not None for label in problem_of(fits[0].target).labels_of(cell)}
        return cls(test.ids, cells, (*known, *sorted(named - {*known})))

    def score(self, name: str, fit: FitRef, store: Store) -> AnyScorer:
        """A fit's answers beside the truth, in the order of these rows. DataError where its rows are others."""
        table = pq.read_table(store.path(fit.uri) / ANSWERS)
        place = {row: number for number, row in enumerate(table["id"].to_pylist())}
        if place.keys() != {*self.ids}:
            shared = len(place.keys() & {*self.ids})
            raise DataError(
                f"compare: variant {name} has other test rows than the reference ({shared} of {len(place)} and "
                f"{len(self.ids)} in common); leave it out"
            )
        order = [place[row] for row in self.ids]
        outputs = np.array(table["outputs"].to_pylist(), dtype=np.float64)[order]
        return problem_of(fit.target).scorer(outputs, self.cells, fit.target, self.labels, fit.tuned)
