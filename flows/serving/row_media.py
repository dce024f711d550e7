"""From the values of a row to the bytes that are decoded: a path, bytes, a picture or an array in memory, a text.

Nothing that comes from outside is interpreted here: an array or a picture that the caller holds is written as a file, which is
decoded as any other.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from data_contracts.modalities import INPUTS, modality_of
from data_contracts.refs import IN_CELLS, InputName
from tasks.config_sections import MediaConfig
from tasks.errors import UsageError
from tasks.media.canonical import Undecodable
from tasks.media.files import NotRegular, open_regular_file
from tasks.media.in_memory import BAD_VALUE
from tasks.modalities import spec_of
from tasks.modeling.card import ModelCard

if TYPE_CHECKING:
    import pandas as pd


Row = dict[str, Any]
"""Input or column to what a caller gives for it, of whatever type; what is no such thing is refused with its name."""


def with_paths_read(frame: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """The data frame with `image_path`, as a manifest has it, under `image`, its texts as paths; one beside an `image` is left.

    For frames of the caller's own only: in one that comes from elsewhere a path names a file of this machine.
    """
    names = [name for name in columns if name in INPUTS and name not in frame and f"{name}_path" in frame]
    return frame.assign(**{name: frame[f"{name}_path"].map(_as_path) for name in names})


def _as_path(cell: Any) -> Any:
    return Path(cell) if isinstance(cell, str) and cell else cell


def frame_rows(frame: pd.DataFrame, columns: list[str]) -> list[Row]:
    """The rows of a data frame under these columns, None where pandas says that a cell is missing: NaN, NA, NaT. Other columns
    are passed over. UsageError where none is left."""
    known = [name for name in columns if name in frame]
    if not known:
        raise UsageError(
            f"predict: no column of the data frame is an input of the model; it reads {', '.join(columns)}"
        )
    cells = frame[known].astype(object)
    return [
        {str(name): cell for name, cell in row.items()} for row in cells.where(cells.notna(), None).to_dict("records")
    ]


def is_missing(value: Any) -> bool:
    """Whether a row holds nothing there."""
    return value is None or (isinstance(value, float) and np.isnan(value)) or (isinstance(value, str) and not value)


class RowMedia:
    """Reads rows for one model."""

    def __init__(self, card: ModelCard, media: MediaConfig) -> None:
        self._max_bytes = media.max_file_mb * 1e6
        self._joined = {
            name: [columns.split_entry(entry)[0] for entry in columns.columns_read(card.encoders[name])]
            for name in card.modalities
            if (columns := spec_of(name).joined_columns()) is not None
        }
        self._lenders = {
            name: lender
            for name in card.modalities
            if (lends := spec_of(name).borrowed_from) is not None
            for lender, key in [lends]
            if name in INPUTS and name == modality_of(name) and getattr(media, key)
        }
        self._names = card.modalities

    @property
    def columns(self) -> list[str]:
        """Every name under which a row may give the model something."""
        own = [column for columns in self._joined.values() for column in columns]
        return [*dict.fromkeys([*self._names, *self._lenders.values(), *own])]

    def unknown(self, row: Mapping[str, Any]) -> Iterator[tuple[str, Undecodable]]:
        """Yields the names in a row that are no input at all. One that only other models read is passed over."""
        for name in row:
            if name not in INPUTS and name not in self.columns:
                near = get_close_matches(str(name), self.columns, 1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                yield str(name), Undecodable("unknown-input", f"the model reads {', '.join(self.columns)}{hint}")

    def read(self, row: Mapping[str, Any]) -> Iterator[tuple[InputName, bytes | Undecodable, bool]]:
        """Yields what a row has: an input of the model, its bytes or why there are none, and whether a clip lends them."""
        for name in self._names:
            lent = False
            try:
                data = self._joined_cells(name, row) if name in self._joined else self._medium(name, row.get(name))
                if data is None and name in self._lenders:
                    data, lent = self._medium(self._lenders[name], row.get(self._lenders[name])), True
            except Undecodable as error:
                yield name, error, lent
                continue
            if data is not None:
                yield name, data, lent

    def _joined_cells(self, name: InputName, row: Mapping[str, Any]) -> bytes | None:
        given = row.get(name)
        if given is not None and not isinstance(given, Mapping):
            raise Undecodable(BAD_VALUE, f"is {_kind(given)}; give an object of columns and cells")
        cells = {column: (given or row).get(column) for column in self._joined[name]}
        if unknown := [str(column) for column in given or () if column not in self._joined[name]]:
            raise Undecodable(
                "unknown-column", f"{', '.join(unknown)}; the model reads {', '.join(self._joined[name])}"
            )
        columns = spec_of(name).joined_columns()
        assert columns is not None  # it is why the name is here
        try:
            text = columns.join(cells)
        except ValueError as error:
            raise Undecodable(BAD_VALUE, str(error)) from None
        return None if text is None else text.encode("utf-8", "surrogatepass")  # which its decoder refuses

    def _medium(self, name: InputName, value: Any) -> bytes | None:
        if is_missing(value):
            return None
        data = self._bytes_of(name, value)
        if not data:
            raise Undecodable("empty-file", "0 bytes")
        if len(data) > self._max_bytes:
            raise Undecodable(
                "file-too-large", f"{len(data)} bytes; the limit is {self._max_bytes:.0f} (media.max_file_mb)"
            )
        return data

    def _bytes_of(self, name: InputName, value: Any) -> bytes:
        spec = spec_of(name)
        if isinstance(value, bytes | bytearray | memoryview):
            return bytes(value)
        if isinstance(value, os.PathLike) or (isinstance(value, str) and spec.name not in IN_CELLS):
            return _read_file(Path(value), self._max_bytes)
        data = spec.encode(value)
        if data is None:
            raise Undecodable(BAD_VALUE, f"is {_kind(value)}; give {spec.values_help}")
        return data


def _kind(value: object) -> str:
    return f"a value of type {type(value).__name__}"


def _read_file(path: Path, max_bytes: float) -> bytes:
    try:
        handle, size = open_regular_file(os.path.realpath(path.expanduser()), max_bytes)
        with os.fdopen(handle, "rb") as file:
            return file.read(size)
    except NotRegular as error:
        raise Undecodable(error.reason, f"{path}: {error.detail}") from None
    except (FileNotFoundError, NotADirectoryError):
        raise Undecodable("missing-file", f"{path}: no such file") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise Undecodable("unreadable-file", f"{path}: {getattr(error, 'strerror', None) or error}") from None
