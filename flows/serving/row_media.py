"""From the values of a row to the bytes that are decoded: a path, bytes, a picture or an array in memory, a text.

Nothing that comes from outside is interpreted here: an array or a picture that the caller holds is written as a file, which is
decoded as any other.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np

from data_contracts.modalities import INPUTS, modality_of
from data_contracts.refs import InputName
from tasks.config_sections import MediaConfig
from tasks.media.files import NotRegular, open_regular_file
from tasks.modalities import spec_of
from tasks.modeling.card import ModelCard


class Unusable(Exception):
    """A value that no medium can be made of; `reason` as in quarantine.csv."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


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

    def unknown(self, row: Mapping[str, Any]) -> Iterator[tuple[str, Unusable]]:
        """Yields the names in a row that are no input at all. One that only other models read is passed over."""
        for name in row:
            if name not in INPUTS and name not in self.columns:
                near = get_close_matches(str(name), self.columns, 1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                yield str(name), Unusable("unknown-input", f"the model reads {', '.join(self.columns)}{hint}")

    def read(self, row: Mapping[str, Any]) -> Iterator[tuple[InputName, bytes | Unusable, bool]]:
        """Yields what a row has: an input of the model, its bytes or why there are none, and whether a clip lends them."""
        for name in self._names:
            lent = False
            try:
                data = self._joined_cells(name, row) if name in self._joined else self._medium(name, row.get(name))
                if data is None and name in self._lenders:
                    data, lent = self._medium(self._lenders[name], row.get(self._lenders[name])), True
            except Unusable as error:
                yield name, error, lent
                continue
            if data is not None:
                yield name, data, lent

    def _joined_cells(self, name: InputName, row: Mapping[str, Any]) -> bytes | None:
        given = row.get(name)
        if given is not None and not isinstance(given, Mapping):
            raise Unusable("bad-value", f"is {_kind(given)}; give an object of columns and cells")
        cells = {column: (given or row).get(column) for column in self._joined[name]}
        if unknown := [str(column) for column in given or () if column not in self._joined[name]]:
            raise Unusable("unknown-column", f"{', '.join(unknown)}; the model reads {', '.join(self._joined[name])}")
        columns = spec_of(name).joined_columns()
        assert columns is not None  # it is why the name is here
        try:
            text = columns.join(cells)
        except ValueError as error:
            raise Unusable("bad-value", str(error)) from None
        return None if text is None else text.encode()

    def _medium(self, name: InputName, value: Any) -> bytes | None:
        if value is None or (isinstance(value, float) and np.isnan(value)) or (isinstance(value, str) and not value):
            return None
        data = self._bytes_of(name, value)
        if not data:
            raise Unusable("empty-file", "0 bytes")
        if len(data) > self._max_bytes:
            raise Unusable(
                "file-too-large", f"{len(data)} bytes; the limit is {self._max_bytes:.0f} (media.max_file_mb)"
            )
        return data

    def _bytes_of(self, name: InputName, value: Any) -> bytes:
        modality = modality_of(name)
        if isinstance(value, bytes | bytearray | memoryview):
            return bytes(value)
        if isinstance(value, str) and modality == "text":
            return value.encode("utf-8", "surrogatepass")
        if isinstance(value, str | os.PathLike):
            return _read_file(Path(value), self._max_bytes)
        if modality == "image":
            return _picture_bytes(value)
        if modality == "audio" and isinstance(value, tuple) and len(value) == 2:
            return _sound_bytes(*value)
        raise Unusable("bad-value", f"is {_kind(value)}; give {_ACCEPTED.get(modality, 'a path or bytes')}")


_ACCEPTED = {
    "image": "a path, bytes, a PIL image, or an array of uint8",
    "audio": "a path, bytes, or (array, rate in Hz)",
    "text": "a text, bytes, or a pathlib.Path",
}


def _kind(value: object) -> str:
    return f"a value of type {type(value).__name__}"


def _read_file(path: Path, max_bytes: float) -> bytes:
    try:
        handle, size = open_regular_file(os.path.realpath(path.expanduser()), max_bytes)
        with os.fdopen(handle, "rb") as file:
            return file.read(size)
    except NotRegular as error:
        raise Unusable(error.reason, f"{path}: {error.detail}") from None
    except (FileNotFoundError, NotADirectoryError):
        raise Unusable("missing-file", f"{path}: no such file") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise Unusable("unreadable-file", f"{path}: {getattr(error, 'strerror', None) or error}") from None


def _picture_bytes(value: Any) -> bytes:
    """PNG of a PIL image or of an array."""
    from PIL import Image

    if isinstance(value, np.ndarray):
        shaped = value.ndim == 2 or (value.ndim == 3 and value.shape[2] in (3, 4))
        if value.dtype != np.uint8 or not shaped or not value.size:
            raise Unusable(
                "bad-value", f"is an array of {value.dtype} {value.shape}; give uint8 (H, W), (H, W, 3) or (H, W, 4)"
            )
        value = Image.fromarray(np.ascontiguousarray(value))
    if not isinstance(value, Image.Image):
        raise Unusable("bad-value", f"is {_kind(value)}; give {_ACCEPTED['image']}")
    sink = io.BytesIO()
    try:
        value.save(sink, "PNG", compress_level=1, exif=value.getexif())
    except (
        OSError,
        ValueError,
        SyntaxError,
    ) as error:  # a picture that was opened, and cannot be read; a mode that PNG lacks
        raise Unusable("unreadable-image", f"{type(error).__name__}: {error}") from None
    return sink.getvalue()


def _sound_bytes(samples: Any, rate_hz: Any) -> bytes:
    """WAV of samples (T,) or (T, channels): int16, or floats in [-1, 1]."""
    import soundfile

    array = np.asarray(samples)
    if array.ndim not in (1, 2) or not array.size or array.dtype not in (np.int16, np.float32, np.float64):
        raise Unusable(
            "bad-value", f"is an array of {array.dtype} {array.shape}; give int16 or float (T,) or (T, channels)"
        )
    if isinstance(rate_hz, bool) or not isinstance(rate_hz, int | np.integer) or rate_hz <= 0:
        raise Unusable("bad-value", f"has the rate {rate_hz!r}; give a whole number of Hz")
    sink = io.BytesIO()
    subtype = "PCM_16" if array.dtype == np.int16 else "FLOAT"
    try:
        soundfile.write(sink, array, int(rate_hz), subtype, format="WAV")
    except (RuntimeError, ValueError) as error:
        raise Unusable("bad-value", f"cannot be written as a sound ({error})") from None
    return sink.getvalue()
