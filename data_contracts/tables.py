"""Arrow schemas of every table that a stage writes. Units and shapes stand beside the columns."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

import pyarrow as pa

from data_contracts.modalities import in_order, modality_of
from data_contracts.refs import ALWAYS, IN_CELLS, InputName

CONTRACT_VERSION = "4"
"""Raised whenever a column or its meaning changes. It enters the keys of the stages: tables of another version are made
anew, and `require_contract` refuses one that is read all the same. 2: raw rows carry `time` and `metadata`.
3: raw rows and samples carry `targets`; a prediction of a number has no probability. 4: raw rows,
samples and refused rows carry `table`."""
PREDICTIONS = "predictions.parquet"
"""Of an evaluation, in its folder."""
CONTRACT_KEY = b"crossmodal.contract"
FEATURES_KEY = b"crossmodal.features"
"""In the metadata of a part of features: what made them, as JSON."""


def _versioned(fields: list[pa.Field]) -> pa.Schema:
    return pa.schema(fields, metadata={CONTRACT_KEY: CONTRACT_VERSION})


def contract_version(schema: pa.Schema) -> str | None:
    """The version under which a table was written; None where it does not say."""
    version = (schema.metadata or {}).get(CONTRACT_KEY)
    return None if version is None else str(version, "utf-8", "replace")


def value_column(modality: InputName) -> str | None:
    """The raw table's column with what is given in the cells themselves; None for what is not."""
    return f"{modality}_value" if modality_of(modality) in IN_CELLS else None


def _with_kinds(inputs: Collection[InputName]) -> list[InputName]:
    """The inputs that every table has, and those of these that are further ones."""
    return [*ALWAYS, *(name for name in in_order(inputs) if name not in ALWAYS)]


def raw_schema(inputs: Collection[InputName] = ()) -> pa.Schema:
    """Rows of a manifest with these inputs, one per line read; media are named and digested, not decoded."""
    named = _with_kinds(inputs)
    media = [
        field
        for modality in named
        for field in (
            pa.field(modality, pa.string()),  # where it is: a real path, or "inline:..." for bytes in the manifest
            pa.field(f"{modality}_sha256", pa.string()),  # of the source bytes; null when the cell is empty
        )
    ]
    values = filter(None, map(value_column, named))
    return _versioned(
        [
            pa.field("row", pa.int64(), nullable=False),  # 1-based position in the manifest, of several: in its table
            pa.field("table", pa.string()),  # of several: which, as a path beneath the data; null where there is one
            pa.field("id", pa.string(), nullable=False),
            pa.field("label", pa.string()),  # of the first label column; a set of labels is joined by |, [] if empty
            pa.field("targets", pa.string()),  # the other label columns, name to text, as a JSON object; or null
            pa.field("split", pa.string()),  # train | val | test, null when not given
            pa.field("group", pa.string()),  # never straddles splits
            pa.field("weight", pa.float64()),
            pa.field("time", pa.string()),  # as given; read under split.by = time
            pa.field("metadata", pa.string()),  # the columns that have no role, and time, as a JSON object; or null
            *(pa.field(name, pa.string()) for name in values),  # a text given in the cell itself
            *media,
            pa.field("reason", pa.string()),  # why the row cannot be used, when that is known before decoding
            pa.field("detail", pa.string()),
            pa.field("bad_modality", pa.string()),
        ]
    )


def samples_schema(inputs: Collection[InputName] = ()) -> pa.Schema:
    """One row per usable sample with these inputs, whose cell is the digest of its canonical form, null when it is missing."""
    return _versioned(
        [
            pa.field("id", pa.string(), nullable=False),
            pa.field("label", pa.string(), nullable=False),  # as in raw rows
            pa.field("targets", pa.string()),
            pa.field("split", pa.string(), nullable=False),
            pa.field("group", pa.string()),
            pa.field("weight", pa.float64(), nullable=False),
            *(pa.field(modality, pa.string()) for modality in _with_kinds(inputs)),
            pa.field("row", pa.int64(), nullable=False),
            pa.field("table", pa.string()),  # as in raw rows
        ]
    )


def digests_schema() -> pa.Schema:
    """A list of media, by the digests of their canonical forms."""
    return _versioned([pa.field("digest", pa.string(), nullable=False)])


def metadata_schema() -> pa.Schema:
    """The user's own columns, one row per sample, in the samples' order."""
    return _versioned(
        [
            pa.field("id", pa.string(), nullable=False),
            pa.field("metadata", pa.string()),  # a JSON object, column to cell; null where there is none
        ]
    )


def near_duplicates_schema() -> pa.Schema:
    """Samples that nearly repeat another in every modality they have; those of one cluster repeat each other."""
    return _versioned(
        [
            pa.field("id", pa.string(), nullable=False),
            pa.field("cluster", pa.int32(), nullable=False),
        ]
    )


def fingerprints_schema() -> pa.Schema:
    """What near repeats of canonical media are found by, one row per medium; null where it is too small to compare."""
    return _versioned(
        [
            pa.field("digest", pa.string(), nullable=False),
            pa.field("code", pa.binary()),  # compared bit by bit or band by band to find candidates
            pa.field("form", pa.binary()),  # on which candidates are confirmed
        ]
    )


def quarantine_schema() -> pa.Schema:
    """Rows that were not used, and duplicates (reason `duplicate`): what, where, why."""
    return _versioned(
        [
            pa.field("id", pa.string(), nullable=False),
            pa.field("modality", pa.string()),
            pa.field("path", pa.string()),
            pa.field("reason", pa.string(), nullable=False),
            pa.field("detail", pa.string()),
            pa.field("row", pa.int64(), nullable=False),
            pa.field("table", pa.string()),  # as in raw rows
        ]
    )


def media_schema() -> pa.Schema:
    """Canonical media, one row per distinct source: decoded once, read by every later stage.

    image: uint8 (H, W, 3), RGB. video: uint8 (N, H, W, 3), RGB frames evenly spaced in time. audio: int16 (T,), mono at the
    stated rate. text: UTF-8 bytes, NFC, shape (characters,). tabular: a JSON object of the filled cells, shape (filled cells,).
    A source that could not be decoded has a reason and no data, so that it is not tried again.
    """
    return _versioned(
        [
            pa.field("source", pa.string(), nullable=False),  # sha256 of the source bytes
            pa.field("digest", pa.string()),  # sha256 of shape and data
            pa.field("shape", pa.list_(pa.int32())),
            pa.field("data", pa.large_binary()),
            pa.field("rate_hz", pa.int32()),  # audio only
            pa.field("warning", pa.string()),
            pa.field("reason", pa.string()),
            pa.field("detail", pa.string()),
        ]
    )


def features_schema(dtype: str, size: int | None = None, about: Mapping[str, Any] | None = None) -> pa.Schema:
    """Features of one modality: `values` is the row-major flattening of an array of `shape`.

    `size`: of lists that all have so many values. `about`: what made them, as JSON in the schema's metadata.
    """
    value_type = {"uint8": pa.uint8(), "int16": pa.int16(), "int32": pa.int32(), "float32": pa.float32()}[dtype]
    schema = _versioned(
        [
            pa.field("digest", pa.string(), nullable=False),  # of the canonical medium
            pa.field("shape", pa.list_(pa.int32()), nullable=False),
            pa.field("values", pa.list_(value_type, -1 if size is None else size), nullable=False),
        ]
    )
    return schema if about is None else schema.with_metadata({**schema.metadata, FEATURES_KEY: json.dumps(about)})


def predictions_schema() -> pa.Schema:
    """One row per sample: the answer in the first label column, its probability, and all outputs of the model.

    `predicted` is a label, labels joined by `|` (`[]`: none), or a number as text. `probability` is that of the answer; of a
    set of labels the product over all labels; null for a number. `probabilities` holds the outputs of every label column one
    after the other: per class (they sum to 1), per label, or the number itself.
    """
    return _versioned(
        [
            pa.field("id", pa.string(), nullable=False),
            pa.field("label", pa.string()),  # the true one, where it is known
            pa.field("predicted", pa.string(), nullable=False),
            pa.field("targets", pa.string()),  # the answers in the other label columns, name to text; null if none
            pa.field("probability", pa.float32()),
            pa.field("probabilities", pa.list_(pa.float32()), nullable=False),
            pa.field("modalities", pa.string(), nullable=False),  # those present, "image+audio"
        ]
    )


def row_predictions_schema() -> pa.Schema:
    """What `crossmodal predict` writes: one row per row of the input, in its order; columns of the input may follow.

    `id` has the type that the input gives it. The answer, as in predictions_schema, is null where a row has a `reason`.
    """
    answers = {field.name: field.with_nullable(True) for field in predictions_schema()}
    return _versioned(
        [
            pa.field("row", pa.int64(), nullable=False),  # 0-based in its table
            *answers.values(),
            pa.field("reason", pa.string()),  # why there is no answer, as in the quarantine; else null
            pa.field("detail", pa.string()),
        ]
    )


def positions_schema() -> pa.Schema:
    """Of a prediction, where each sample stands among the raw rows, 0-based; in the samples' order."""
    return _versioned([pa.field("position", pa.int64(), nullable=False)])


def scores_schema() -> pa.Schema:
    """What `crossmodal score` keeps of a row that a model version has answered; the answer is as in predictions_schema."""
    return _versioned(
        [
            *predictions_schema(),
            pa.field("group", pa.string()),
            pa.field(
                "content", pa.string(), nullable=False
            ),  # digest of what the model reads; the same row edited has another
            pa.field(
                "seen", pa.string()
            ),  # "row", "group": the model was trained or validated on it, or on others of its group
            pa.field("rows_of_id", pa.int32(), nullable=False),  # contents that the data then had under this id
            pa.field("scored_at", pa.timestamp("ms", tz="UTC"), nullable=False),
        ]
    )
