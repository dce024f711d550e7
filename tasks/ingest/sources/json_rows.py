"""The reader of JSON: one object a line, an array of objects, or objects one after the other, however they are indented."""

from __future__ import annotations

import codecs
import io
import json
import math
from collections.abc import Callable, Iterator
from typing import Any

from tasks.errors import DataError
from tasks.ingest.manifest.rows import Manifest, Row
from tasks.ingest.sources.json_arrays import arrays_of_objects, note_arrays, open_array
from tasks.ingest.sources.limits import ReadLimits
from tasks.ingest.sources.streams import TableFile

_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_BLOCK_CHARS = 1 << 18
_OBJECT_CHARS = 64 << 20
"""Largest object of an array."""


def open_json(file: TableFile, limits: ReadLimits) -> Manifest:
    """The rows of a JSON file. A line that cannot be read costs that line; in an array, DataError with the line number.

    Columns are the keys of all objects, in the order in which they first occur.
    """
    with file.open() as opened:
        start = opened.read(4096)
    if start[:2] in _UTF16_MARKS:
        raise DataError(f"manifest {file.path}: UTF-16; JSON lines are UTF-8 (RFC 8259): save it as UTF-8")
    read = read_objects if _spans_lines(file, start) else _lines
    columns: dict[str, None] = {}
    first, count = None, 0
    for row in read(file):
        count += 1
        first = first or row
        columns |= dict.fromkeys(row.values)
    if first is None:
        raise DataError(f"manifest {file.path}: the file holds no rows")
    arrays = arrays_of_objects(first.values, limits.columns) if count == 1 else {}
    if len(arrays) == 1:
        return open_array(file, *arrays.popitem())
    if count == 1 and len(columns) > 1 and all(isinstance(value, dict) for value in first.values.values()):
        raise DataError(
            f"manifest {file.path}: one JSON object of objects, which is no row; write an array of objects, or one a line "
            "(pandas: to_json(orient='records'))"
        )
    if not columns:
        is_repr = start.lstrip().startswith(b"{'")
        raise DataError(
            f"manifest {file.path}: no line is a JSON object with values; line {first.number}: {first.detail}"
            + ("; by its marks it is a dict as Python prints it: write it with json.dumps" if is_repr else "")
        )
    return Manifest(
        file.path,
        file.path.parent,
        tuple(columns),
        read(file),
        note_arrays(file, first.values, arrays) if count == 1 else (),
        count,
    )


def _spans_lines(file: TableFile, start: bytes) -> bool:
    """Whether the file is an array of objects, or an object that spans several lines."""
    text = start.removeprefix(codecs.BOM_UTF8).lstrip(b" \t\r\n")
    if text.startswith(b"["):
        return text[1:].lstrip(b" \t\r\n").startswith(b"{")
    if not text.startswith(b"{"):
        return False
    with file.open() as opened:
        line = next((line for line in opened if line.strip(b"\xef\xbb\xbf \t\r\n")), b"")
    return line.rstrip().endswith((b"{", b",", b"[")) and _json_row(1, line).reason is not None


# -- one object a line ---


def _lines(file: TableFile) -> Iterator[Row]:
    with file.open() as opened:
        for number, line in enumerate(opened, start=1):
            if line.strip(b"\xef\xbb\xbf \t\r\n"):
                yield _json_row(number, line)


def _json_row(number: int, line: bytes) -> Row:
    try:
        text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        value = _STRICT.decode(text.strip())
        _require_storable(value, text)
    except UnicodeDecodeError as error:
        byte = f"byte {error.start + 1} of the line is {error.object[error.start]:#04x}"
        return Row(number, {}, "unreadable-row", f"not UTF-8, as JSON is ({byte}): save the file as UTF-8")
    except (ValueError, RecursionError) as error:
        return Row(number, {}, "unreadable-row", f"{type(error).__name__}: {str(error)[:200]}")
    return _row(number, value)


def _row(number: int, value: Any) -> Row:
    if not isinstance(value, dict):
        return Row(number, {}, "unreadable-row", f"a JSON {type(value).__name__}, expected an object")
    return Row(number, value)


def _require_storable(value: Any, text: str) -> None:
    """UnicodeEncodeError for an escaped half of a surrogate pair."""
    if "\\u" in text:
        json.dumps(value, ensure_ascii=False).encode()


def _constant(text: str) -> None:
    """NaN is what Python and pandas write for nothing; infinity is no value of anything."""
    if text != "NaN":
        raise ValueError(f"{text} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]} is larger than a number can be")
    return value


def _refuse_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a key appears twice")
    return values


_STRICT = json.JSONDecoder(parse_constant=_constant, parse_float=_finite, object_pairs_hook=_refuse_repeats)
_LENIENT = json.JSONDecoder(parse_float=str, parse_int=str)
"""Finds the end of an object that _STRICT refuses."""
_PLAIN = json.JSONDecoder()


# -- objects over several lines ---


def read_objects(file: TableFile) -> Iterator[Row]:
    """The objects of an array, or one after the other, each held in memory while it is read."""
    with io.TextIOWrapper(file.open(), encoding="utf-8-sig", newline="") as text:
        window = Window(file, text.read)
        is_open, number = window.take("["), 0
        while not window.at_end():
            if is_open and window.take("]"):
                is_open = False
                break
            number += 1
            yield window.next_row(number)
            window.take(",")
        if is_open or not window.at_end():
            raise window.broken("the array does not end" if is_open else "there is more after the end of the array")


class Window:
    """The part of a JSON text that is looked at."""

    def __init__(self, file: TableFile, read: Callable[[int], str]) -> None:
        self._file, self._read = file, read
        self._text, self._place, self._line = "", 0, 1
        self._complete = False

    def _more(self) -> None:
        self._line += self._text.count("\n", 0, self._place)
        try:
            block = self._read(max(_BLOCK_CHARS, len(self._text) - self._place))
        except UnicodeDecodeError as error:
            raise DataError(f"manifest {self._file.path}: not UTF-8 after line {self._line} ({error.reason})") from None
        self._text, self._place = self._text[self._place :] + block, 0
        self._complete = not block

    def at_end(self) -> bool:
        """Whether nothing but white space is left; white space is passed over."""
        while True:
            while self._place < len(self._text) and self._text[self._place] in " \t\r\n":
                self._place += 1
            if self._place < len(self._text):
                return False
            if self._complete:
                return True
            self._more()

    def take(self, mark: str) -> bool:
        """Whether the mark comes next; it is passed over."""
        found = not self.at_end() and self._text[self._place] == mark
        self._place += found
        return found

    def next_row(self, number: int) -> Row:
        """The next value as a row."""
        while True:
            start = self._place
            try:
                value, end = _STRICT.raw_decode(self._text, start)
                if end < len(self._text) or self._complete:
                    _require_storable(value, self._text[start:end])
                    self._place = end
                    return _row(number, value)
            except json.JSONDecodeError as error:
                if self._complete:
                    self._place = min(error.pos, len(self._text))
                    raise self.broken(error.msg) from None
            except (ValueError, RecursionError) as error:
                return self._skip(number, error)
            if len(self._text) - start > _OBJECT_CHARS:
                raise self.broken(f"an object of more than {_OBJECT_CHARS} characters")
            self._more()

    def next_value(self) -> Any:
        """The next value, whatever it is."""
        while True:
            try:
                value, end = _PLAIN.raw_decode(self._text, self._place)
                if end < len(self._text) or self._complete:
                    self._place = end
                    return value
            except RecursionError:
                raise self.broken("nested too deeply") from None
            except json.JSONDecodeError as error:
                if self._complete:
                    raise self.broken(error.msg) from None
            if len(self._text) - self._place > _OBJECT_CHARS:
                raise self.broken(f"a value of more than {_OBJECT_CHARS} characters")
            self._more()

    def _skip(self, number: int, error: Exception) -> Row:
        """A row of a value that cannot be used, whose end is found all the same."""
        while True:
            try:
                _, self._place = _LENIENT.raw_decode(self._text, self._place)
                return Row(number, {}, "unreadable-row", f"{type(error).__name__}: {str(error)[:200]}")
            except (json.JSONDecodeError, RecursionError) as other:
                if self._complete or isinstance(other, RecursionError):
                    raise self.broken(f"{type(other).__name__}: {other}") from None
                self._more()

    def broken(self, what: str) -> DataError:
        """The error that says on which line."""
        line = self._line + self._text.count("\n", 0, self._place)
        return DataError(
            f"manifest {self._file.path}: no row is a JSON object beyond line {line} ({what}); repair it, or write one "
            "object a line (.jsonl)"
        )
