"""What samples.parquet must meet, whatever its source: ids, labels, splits, weights, digests, and enough of each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from data_contracts.expectations import about, frame_of, gallery
from data_contracts.modalities import modality_of
from data_contracts.refs import InputName
from data_contracts.tables import samples_schema

if TYPE_CHECKING:
    import pandas as pd
    from great_expectations.expectations.expectation import Expectation

DIGEST = "^[0-9a-f]{64}$"
RAREST_CLASS = 0.1
"""A class is called rare when it has less than this share of the rows it would have if all classes were even."""
MAX_MISSING = 0.5
"""A modality is called sparse when more than this share of the rows lack it."""


def samples_frame(samples: pa.Table, modalities: tuple[InputName, ...]) -> pd.DataFrame:
    """The samples with two computed columns.

    `modalities_present`: how many of `modalities` the row has. `class_size`: rows of its class, relative to even
    classes (1.0: exactly its even share).
    """
    frame = frame_of(samples, ("id", "label", "split", "weight", "row", *modalities))
    frame["modalities_present"] = frame.reindex(columns=list(modalities)).notna().sum(axis=1)
    labels = frame.reindex(columns=["label"])["label"]
    frame["class_size"] = labels.map(labels.value_counts()).astype("float64") * labels.nunique() / max(len(frame), 1)
    return frame


def samples_expectations(labels: list[Expectation], modalities: tuple[InputName, ...]) -> list[Expectation]:
    """The expectations on `samples_frame`, the gravest first; `labels`: those of the first label column's problem."""
    return [*_rows(modalities), _label_not_null(), *labels, *_media(modalities)]


def _rows(modalities: tuple[InputName, ...]) -> list[Expectation]:
    from great_expectations.expectations.row_conditions import Column

    gxe = gallery()
    splits = ["train", "val", "test"]
    return [
        gxe.ExpectTableColumnsToMatchSet(
            column_set=samples_schema(modalities).names,
            exact_match=False,
            **about("columns_complete", "the table has every column of its contract", "run ingest again"),
        ),
        gxe.ExpectColumnValuesToNotBeNull(
            column="id", **about("id_given", "every row has an id", "fill the id column of the manifest")
        ),
        gxe.ExpectColumnValuesToBeUnique(
            column="id", **about("id_unique", "no two rows share an id", "make the ids of the manifest unique")
        ),
        gxe.ExpectColumnValuesToNotBeNull(
            column="split", **about("split_given", "every row belongs to a split", "fill the split column")
        ),
        gxe.ExpectColumnValuesToBeInSet(
            column="split",
            value_set=splits,
            **about("split_known", "a split is train, val or test", "correct the split column of the manifest"),
        ),
        gxe.ExpectTableRowCountToBeBetween(
            min_value=1,
            row_condition=Column("split") == "train",
            **about(
                "train_rows", "the train split has rows", "add rows with split=train, or leave the split column out"
            ),
        ),
        gxe.ExpectColumnValuesToNotBeNull(
            column="weight", **about("weight_given", "every row has a weight", "fill the weight column, 1.0 is neutral")
        ),
        gxe.ExpectColumnValuesToBeBetween(
            column="weight",
            min_value=0,
            strict_min=True,
            max_value=1e9,
            **about("weight_positive", "weights are positive and finite", "correct the weights, or remove those rows"),
        ),
    ]


def _label_not_null() -> Expectation:
    expectation: Expectation = gallery().ExpectColumnValuesToNotBeNull(
        column="label", **about("label_given", "every row has a label", "label those rows, or remove them")
    )
    return expectation


def number_labels() -> list[Expectation]:
    """A label is a number."""
    number = r"^-?\d+(?:\.\d+)?(?:e[+-]?\d+)?$"
    return [
        gallery().ExpectColumnValuesToMatchRegex(
            column="label", regex=number, **about("label_number", "every label is a number", "run ingest again")
        )
    ]


def known_labels(labels: tuple[str, ...]) -> list[Expectation]:
    """A label is one of those listed, and no class is rare."""
    gxe = gallery()
    return [
        gxe.ExpectColumnValuesToBeInSet(
            column="label",
            value_set=list(labels),
            **about("label_known", "labels are those that ingest listed", "run ingest again"),
        ),
        gxe.ExpectColumnValuesToBeBetween(
            column="class_size",
            min_value=RAREST_CLASS,
            **about(
                "class_balance",
                f"each class has at least {RAREST_CLASS:.0%} of an even share of the rows",
                "add samples of the rare classes, or weigh them with a weight column",
                "warning",
            ),
        ),
    ]


def _media(modalities: tuple[InputName, ...]) -> list[Expectation]:
    gxe = gallery()
    expectations: list[Expectation] = [
        gxe.ExpectColumnValuesToBeBetween(
            column="modalities_present",
            min_value=1,
            **about("modality_present", "every row has at least one modality in use", "remove the empty rows"),
        )
    ]
    for modality in modalities:
        expectations += [
            gxe.ExpectColumnValuesToMatchRegex(
                column=modality,
                regex=DIGEST,
                **about(f"{modality}_digest", "a medium is named by the sha256 of its content", "run ingest again"),
            ),
            gxe.ExpectColumnValuesToNotBeNull(
                column=modality,
                mostly=1 - MAX_MISSING,
                **about(
                    f"{modality}_missing",
                    f"at most {MAX_MISSING:.0%} of the rows lack {modality}",
                    f"fill the {modality} column, or leave it out with encoders.{modality_of(modality)}=off",
                    "warning",
                ),
            ),
        ]
    return expectations
