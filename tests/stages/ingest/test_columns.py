"""Which columns a manifest must have: fewer where it is to be predicted."""

from __future__ import annotations

import pytest

from tasks.config import ColumnsConfig, DataConfig, EncodersConfig
from tasks.errors import UsageError
from tasks.ingest.manifest.columns import find_columns

MAPPED = {"label": "truth", "split": "side", "group": "speaker", "weight": "w", "time": "when"}


@pytest.mark.parametrize("role", MAPPED)
def test_a_prediction_does_without_what_only_training_needs(role: str) -> None:
    data = DataConfig(columns=ColumnsConfig(**{role: MAPPED[role]}))
    names = ("id", "image", role)  # not taken in place of the column that was named
    found = find_columns(names, data, EncodersConfig(), "m.csv", "predict")
    assert getattr(found, role) is None
    assert role in found.unused
    with pytest.raises(UsageError, match="no such column"):
        find_columns(names, data, EncodersConfig(), "m.csv")
    assert (
        getattr(find_columns((*names, MAPPED[role]), data, EncodersConfig(), "m.csv", "predict"), role) == MAPPED[role]
    )


@pytest.mark.parametrize("columns", [{"id": "key"}, {"image": "photo"}])
def test_a_prediction_needs_the_rest(columns: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="no such column"):
        find_columns(
            ("id", "image"), DataConfig(columns=ColumnsConfig(**columns)), EncodersConfig(), "m.csv", "predict"
        )
