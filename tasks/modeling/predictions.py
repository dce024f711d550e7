"""The predictions table: what an evaluation keeps, and what `crossmodal predict` writes. Imports no torch."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from data_contracts.refs import InputName
from data_contracts.tables import predictions_schema
from data_contracts.translation import GENERATED
from tasks.modalities import joined
from tasks.modeling.card import ModelCard
from tasks.modeling.decision import answer_column, answer_others, output_names
from tasks.samples import Samples
from tasks.store import replace_file

NO_MODALITY = "none"


def predictions_table(
    samples: Samples, outputs: NDArray[np.floating[Any]], card: ModelCard, modalities: Sequence[InputName]
) -> pa.Table:
    """One row per sample, in their order; what each of the outputs (N, outputs) is called stands in the metadata.

    `modalities` are those that the model reads. Samples of which inputs are generated have one more column, which names them.
    """
    predicted, probability = answer_column(card, 0, outputs)
    flat = pa.array(outputs.astype(np.float32).reshape(-1))
    columns = {
        "id": samples.column("id"),
        "label": pa.array(samples.targets(0, ""), pa.string()),
        "predicted": pa.array(predicted, pa.string()),
        "targets": pa.array(answer_others(card, outputs), pa.string()),
        "probability": pa.array([None] * len(predicted) if probability is None else probability, pa.float32()),
        "probabilities": pa.FixedSizeListArray.from_arrays(flat, outputs.shape[1]).cast(pa.list_(pa.float32())),
        "modalities": present_modalities(samples, modalities),
    }
    schema = predictions_schema()
    names = {"crossmodal.labels": json.dumps(output_names(card))}
    table = pa.table(columns, schema=schema.with_metadata({**(schema.metadata or {}), **names}))
    return table.append_column(GENERATED, samples.column(GENERATED)) if GENERATED in samples.names else table


def write_predictions(path: Path, table: pa.Table) -> None:
    """`path` holds the table as Parquet, in one step."""
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    replace_file(path, sink.getvalue())


def present_modalities(samples: Samples, modalities: Sequence[InputName]) -> list[str]:
    """Which of the modalities each sample has: `image+audio`, or `none`."""
    has = {name: samples.has(name) for name in modalities}
    if not has:
        return [NO_MODALITY] * len(samples)
    names: dict[tuple[bool, ...], str] = {}
    found = []
    for row in zip(*has.values(), strict=True):
        if row not in names:
            names[row] = joined([name for name, there in zip(has, row, strict=True) if there]) or NO_MODALITY
        found.append(names[row])
    return found
