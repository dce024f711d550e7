"""The predictions table: the one that an evaluation keeps and that `crossmodal predict` writes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_contracts.tables import predictions_schema
from tasks.modeling.card import ModelCard
from tasks.modeling.predictions import predictions_table, present_modalities, write_predictions
from tasks.samples import Samples
from tests.support.cards import card_of

SAMPLES = Samples(
    pa.table(
        {
            "id": ["a", "b", "c"],
            "label": ["cat", "", "dog"],
            "image": ["i", None, None],
            "audio": ["s", "s", None],
        }
    )
)
OUTPUTS = np.array([[0.75, 0.25], [0.5, 0.5], [0.125, 0.875]])


def card(labels: Sequence[str], **changes: Any) -> ModelCard:
    return ModelCard.model_validate(card_of(labels, **changes))


def test_a_row_has_its_answer_its_probability_and_what_it_is_made_from(tmp_path: Path) -> None:
    table = predictions_table(SAMPLES, OUTPUTS, card(("cat", "dog")), ("image", "audio"))
    assert predictions_table(SAMPLES.take([]), OUTPUTS[:0], card(("cat", "dog")), ("image",)).num_rows == 0
    write_predictions(tmp_path / "p.parquet", table)
    read = pq.read_table(tmp_path / "p.parquet")
    assert read.schema.equals(predictions_schema())
    assert json.loads(read.schema.metadata[b"crossmodal.labels"]) == ["cat", "dog"]
    assert [list(row.values()) for row in read.to_pylist()] == [
        ["a", "cat", "cat", None, 0.75, [0.75, 0.25], "image+audio"],
        ["b", None, "cat", None, 0.5, [0.5, 0.5], "audio"],
        ["c", "dog", "dog", None, 0.875, [0.125, 0.875], "none"],
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["p.parquet"], "nothing is left beside it"


def test_further_columns_and_numbers_stand_beside_the_first() -> None:
    targets = [{"name": "label", "labels": ["cat", "dog"]}, {"name": "price", "problem": "regression"}]
    outputs = np.column_stack([OUTPUTS, [1.5, 2.0, -3.25]])
    table = predictions_table(SAMPLES, outputs, card(("cat", "dog"), targets=targets), ("image",))
    assert [json.loads(row) for row in table["targets"].to_pylist()] == [
        {"price": "1.5"},
        {"price": "2"},
        {"price": "-3.25"},
    ]
    assert json.loads(table.schema.metadata[b"crossmodal.labels"]) == ["cat", "dog", "price"]
    numbers = card((), targets=[{"name": "price", "problem": "regression"}])
    assert predictions_table(SAMPLES, outputs[:, 2:], numbers, ())["probability"].to_pylist() == [None] * 3


@pytest.mark.parametrize(
    ("modalities", "expected"),
    [
        (("image", "audio"), ["image+audio", "audio", "none"]),
        (("image",), ["image", "none", "none"]),
        ((), ["none", "none", "none"]),
    ],
)
def test_which_modalities_a_row_has(modalities: tuple[str, ...], expected: list[str]) -> None:
    assert present_modalities(SAMPLES, modalities) == expected
