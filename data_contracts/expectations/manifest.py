"""What the raw table must meet: the manifest as read, every row of it named, typed, and usable or with its reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from data_contracts.expectations import about, frame_of, gallery
from data_contracts.expectations.samples import DIGEST
from data_contracts.refs import InputName
from data_contracts.tables import raw_schema

if TYPE_CHECKING:
    import pandas as pd
    from great_expectations.expectations.expectation import Expectation

MAX_REFUSED = 0.1
"""More rows than this share with a reason before anything is decoded are worth a look at how the manifest is written."""
MAX_SHARED_IDS = 0.01


def manifest_frame(raw: pa.Table, modalities: tuple[InputName, ...]) -> pd.DataFrame:
    """The raw rows with four computed columns, 0 or 1 but for the second.

    `refused`: the row has a reason. `media_named`: how many of `modalities` it names; null in a refused row. `unlabelled`:
    it has neither label nor reason. `unexplained`: it has a reason and no detail.
    """
    checked = ("row", "id", "label", "split", "weight", "reason", *(f"{modality}_sha256" for modality in modalities))
    frame = frame_of(raw.select([name for name in raw.column_names if not is_long(name)]), checked)
    reason = frame.reindex(columns=["reason"])["reason"]
    detail = raw["detail"].is_valid().to_pandas() if "detail" in raw.column_names else reason.isna()
    digests = frame.reindex(columns=[f"{modality}_sha256" for modality in modalities])
    frame["refused"] = (reason.notna() & (reason != "unlabelled")).astype("int64")
    frame["media_named"] = digests.notna().sum(axis=1).astype("float64").where(reason.isna())
    frame["unlabelled"] = (frame.reindex(columns=["label"])["label"].isna() & reason.isna()).astype("int64")
    frame["unexplained"] = (reason.notna() & ~detail).astype("int64")
    return frame


def is_long(column: str) -> bool:
    """Whether its cells are long texts that nothing is expected of."""
    return column in ("metadata", "detail") or column.endswith("_value")


def manifest_expectations(modalities: tuple[InputName, ...]) -> list[Expectation]:
    """The expectations on `manifest_frame`, the gravest first."""
    return [*_form(modalities), *_cells(modalities), *_suspicions()]


def _form(modalities: tuple[InputName, ...]) -> list[Expectation]:
    gxe = gallery()
    again = "run again; if it stays, the manifest was read wrongly: report it"
    columns = [name for name in raw_schema(modalities).names if not is_long(name)]
    return [
        gxe.ExpectTableColumnsToMatchSet(
            column_set=columns, exact_match=False, **about("raw_columns", "the table has every column it needs", again)
        ),
        gxe.ExpectTableRowCountToBeBetween(
            min_value=1, **about("raw_rows", "the manifest has rows", "look at the manifest")
        ),
        gxe.ExpectColumnValuesToNotBeNull(column="row", **about("row_given", "every row has its number", again)),
        gxe.ExpectColumnValuesToBeBetween(
            column="row", min_value=1, **about("row_positive", "rows are counted from 1", again)
        ),
        gxe.ExpectColumnValuesToNotBeNull(column="id", **about("raw_id_given", "every row has an id", again)),
        gxe.ExpectColumnValuesToBeInSet(
            column="unexplained", value_set=[0], **about("reason_explained", "a reason comes with its detail", again)
        ),
    ]


def _cells(modalities: tuple[InputName, ...]) -> list[Expectation]:
    gxe = gallery()
    again = "run again; if it stays, the manifest was read wrongly: report it"
    return [
        gxe.ExpectColumnValuesToBeBetween(
            column="media_named",
            min_value=1,
            **about("medium_named", "a row without a reason names a medium", again),
        ),
        gxe.ExpectColumnValuesToBeInSet(
            column="unlabelled",
            value_set=[0],
            **about("raw_label_given", "a row without a reason has a label", "label those rows, or remove them"),
        ),
        gxe.ExpectColumnValuesToBeInSet(
            column="split",
            value_set=["train", "val", "test"],
            **about("raw_split_known", "a given split is train, val or test", "correct the split column"),
        ),
        gxe.ExpectColumnValuesToBeBetween(
            column="weight",
            min_value=0,
            strict_min=True,
            max_value=1e300,
            **about("raw_weight_positive", "given weights are positive and finite", "correct the weight column"),
        ),
        *(
            gxe.ExpectColumnValuesToMatchRegex(
                column=f"{modality}_sha256",
                regex=DIGEST,
                **about(f"{modality}_digested", "a medium is digested by sha256", again),
            )
            for modality in modalities
        ),
    ]


def _suspicions() -> list[Expectation]:
    gxe = gallery()
    return [
        gxe.ExpectColumnValuesToBeInSet(
            column="refused",
            value_set=[0],
            mostly=1 - MAX_REFUSED,
            **about(
                "rows_readable",
                f"at least {1 - MAX_REFUSED:.0%} of the rows have nothing against them before decoding",
                "see quarantine.csv for what is wrong with each",
                "warning",
            ),
        ),
        gxe.ExpectColumnValuesToBeUnique(
            column="id",
            mostly=1 - MAX_SHARED_IDS,
            **about(
                "raw_id_unique",
                f"at least {1 - MAX_SHARED_IDS:.0%} of the rows have an id (or, without one, media) of their own",
                "make the ids unique: of rows that share one, only the first is used",
                "warning",
            ),
        ),
    ]
