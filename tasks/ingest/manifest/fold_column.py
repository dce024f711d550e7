"""A column of folds by number, as ESC-50 and many benchmarks have it: the split where split.folds says which are which."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.config import DataConfig
from tasks.ingest.manifest.rows import Folds

_NAMES = ("fold", "folds", "kfold")


def take_folds(names: Sequence[str], data: DataConfig, folds: Folds) -> tuple[DataConfig, tuple[str, ...]]:
    """The config with such a column as the split, and a note; where no folds are set, a note that names the setting."""
    lowered = {name.strip().lower(): name for name in reversed(names)}
    found = next((lowered[name] for name in _NAMES if name in lowered), None)
    if found is None or data.columns.split is not None or "split" in lowered or not data.find_columns:
        return data, ()
    if not folds:
        return data, (
            f"column {found!r} may number folds; split.folds says which are test and val, and it becomes the split",
        )
    columns = data.columns.model_copy(update={"split": found})
    return data.model_copy(update={"columns": columns}), (f"splits are those of column {found!r}, by split.folds",)
