"""Pure builders of Great Expectations expectations, one file per table. Great Expectations is imported when they run."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Literal, TypedDict

import pyarrow as pa

if TYPE_CHECKING:
    import pandas as pd

Severity = Literal["critical", "warning"]


class Meta(TypedDict):
    """What an expectation says of itself."""

    name: str
    states: str
    advice: str


class About(TypedDict):
    """Arguments of every expectation of Great Expectations."""

    description: str
    meta: Meta
    severity: Severity


def about(name: str, states: str, advice: str, severity: Severity = "critical") -> About:
    """The arguments that every expectation of ours carries: its name, what it states, and what to do when it is broken.

    A broken `critical` expectation refuses the table; a broken `warning` is reported.
    """
    return {
        "description": f"{name}: {states}",
        "meta": {"name": name, "states": states, "advice": advice},
        "severity": severity,
    }


def frame_of(table: pa.Table, checked: Collection[str]) -> pd.DataFrame:
    """The table for Great Expectations, which copies a frame for many an expectation.

    Of a column that no expectation looks into only the name counts: its cells are False, a byte each.
    """
    frame: pd.DataFrame = table.select([name for name in table.column_names if name in checked]).to_pandas()
    return frame.assign(**dict.fromkeys((name for name in table.column_names if name not in checked), False))


def gallery() -> Any:
    """Great Expectations' classes of expectations; the import takes seconds, so it happens here and not at the top."""
    import great_expectations.expectations

    return great_expectations.expectations
