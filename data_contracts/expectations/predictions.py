"""What stored predictions must meet: every test row once, answered by a known label, with probabilities that sum to 1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import pyarrow as pa

from data_contracts.expectations import about, gallery
from data_contracts.tables import predictions_schema

if TYPE_CHECKING:
    import pandas as pd
    from great_expectations.expectations.expectation import Expectation

SUM_TOLERANCE = 1e-3
"""Of float32 probabilities of up to thousands of classes; a softmax that was forgotten is off by far more."""
AGAIN = "train again; if it stays, the model's output is not what it should be: report it"


@dataclass(frozen=True)
class OutputContract:
    """What the outputs and answers of one label column must meet."""

    width: int
    """Outputs."""
    labels: tuple[str, ...]
    answers: Literal["label", "labels", "value"]
    """label: one of the labels, with its probability. labels: a set of them. value: anything."""
    are_shares: bool
    """Whether every output lies in [0, 1]."""
    sum_to_1: bool


def predictions_frame(predictions: pa.Table, columns: Sequence[OutputContract]) -> pd.DataFrame:
    """The predictions without their lists, and figures on those, which hold the outputs of every label column in turn.

    `count` (of outputs) and `not_finite`; `lowest` and `highest` of all that are shares, not numbers; `total`, of the sums that
    must be 1 the one that is farthest from it, and 1 without any. Of the first column `misstated`: how far
    `probability` is from the predicted label's in the list, and `unknown`: how many labels in its answer the model does not
    have.
    """
    import numpy as np

    frame: pd.DataFrame = predictions.drop_columns(["probabilities"]).to_pandas()
    lists = [np.asarray(row or [], np.float64) for row in predictions["probabilities"].to_pylist()]
    ends = np.cumsum([column.width for column in columns]).tolist()
    slices = [(column, slice(end - column.width, end)) for column, end in zip(columns, ends, strict=True)]
    shares = [[row[part] for column, part in slices if column.are_shares] for row in lists]
    totals = [[float(row[part].sum()) for column, part in slices if column.sum_to_1] for row in lists]
    frame["count"] = [len(row) for row in lists]
    frame["not_finite"] = [int((~np.isfinite(row)).sum()) for row in lists]
    frame["lowest"] = [min((float(part.min(initial=np.inf)) for part in parts), default=np.inf) for parts in shares]
    frame["highest"] = [max((float(part.max(initial=-np.inf)) for part in parts), default=-np.inf) for parts in shares]
    frame["total"] = [max(sums, key=lambda total: abs(total - 1), default=1.0) for sums in totals]
    labels = columns[0].labels
    places = {label: place for place, label in enumerate(labels)}
    stated = [
        row[places[label]] if places.get(label, len(row)) < len(row) else np.nan
        for label, row in zip(frame["predicted"], lists, strict=True)
    ]
    frame["misstated"] = np.abs(frame["probability"].to_numpy(np.float64) - np.array(stated, np.float64))
    answers = [() if text in {None, "[]"} else text.split("|") for text in predictions["predicted"].to_pylist()]
    frame["unknown"] = [len(set(answer) - set(labels)) for answer in answers]
    return frame


def predictions_expectations(columns: Sequence[OutputContract], rows: int) -> list[Expectation]:
    """The expectations on `predictions_frame` of a model with these label columns, on so many test rows; the gravest
    first."""
    first = columns[0]
    found = [*_rows(rows), *_complete(sum(column.width for column in columns))]
    found += _answers(first.labels) if first.answers == "label" else _varied()
    if first.answers == "labels":
        found.append(_between("unknown", 0, 0, "predicted_known", "an answer holds only labels of the model"))
    if any(column.are_shares for column in columns):
        found += _shares()
    if any(column.sum_to_1 for column in columns):
        found.append(
            _between("total", 1 - SUM_TOLERANCE, 1 + SUM_TOLERANCE, "probabilities_sum_to_1", "a row's sum to 1")
        )
    return found + (_probability_of_prediction() if first.answers == "label" else [])


def _rows(rows: int) -> list[Expectation]:
    gxe = gallery()
    columns = [name for name in predictions_schema().names if name != "probabilities"]
    return [
        gxe.ExpectTableColumnsToMatchSet(
            column_set=columns, exact_match=False, **about("predictions_columns", "every column is there", AGAIN)
        ),
        gxe.ExpectTableRowCountToEqual(
            value=rows, **about("predictions_rows", f"there is one prediction for each of {rows} test rows", AGAIN)
        ),
        gxe.ExpectColumnValuesToNotBeNull(column="id", **about("predicted_id_given", "every row has an id", AGAIN)),
        gxe.ExpectColumnValuesToBeUnique(
            column="id", **about("predicted_id_unique", "no row is predicted twice", AGAIN)
        ),
    ]


def _varied() -> list[Expectation]:
    gxe = gallery()
    return [
        gxe.ExpectColumnValuesToNotBeNull(
            column="predicted", **about("predicted_given", "every row has an answer", AGAIN)
        ),
        gxe.ExpectColumnUniqueValueCountToBeBetween(
            column="predicted",
            min_value=2,
            **about(
                "predicted_varied",
                "the model gives at least two different answers",
                "look at the learning curves: it may have learned the most frequent class only",
                "warning",
            ),
        ),
    ]


def _answers(labels: tuple[str, ...]) -> list[Expectation]:
    gxe = gallery()
    return [
        *_varied(),
        gxe.ExpectColumnValuesToBeInSet(
            column="predicted",
            value_set=list(labels),
            **about("predicted_known", "an answer is one of the model's labels", AGAIN),
        ),
        gxe.ExpectColumnValuesToBeInSet(
            column="label",
            value_set=list(labels),
            **about(
                "label_learned",
                "the true label is one that the model knows",
                "it can only be wrong on those rows: move samples of that class to train",
                "warning",
            ),
        ),
    ]


def _between(column: str, low: float, high: float, name: str, states: str) -> Expectation:
    expectation: Expectation = gallery().ExpectColumnValuesToBeBetween(
        column=column, min_value=low, max_value=high, **about(name, states, AGAIN)
    )
    return expectation


def _complete(outputs: int) -> list[Expectation]:
    return [
        _between("count", outputs, outputs, "probabilities_complete", f"there is one for each of {outputs} outputs"),
        _between("not_finite", 0, 0, "probabilities_finite", "no probability is NaN or infinite"),
    ]


def _shares() -> list[Expectation]:
    return [
        _between("lowest", 0, 1, "probabilities_not_negative", "no probability is below 0"),
        _between("highest", 0, 1, "probabilities_at_most_1", "no probability is above 1"),
    ]


def _probability_of_prediction() -> list[Expectation]:
    gxe = gallery()
    return [
        gxe.ExpectColumnValuesToNotBeNull(
            column="misstated", **about("probability_given", "the answer's probability is stated", AGAIN)
        ),
        _between("misstated", 0, 1e-6, "probability_of_answer", "the probability stated is that of the answer"),
    ]
