"""What a prediction takes along from its input: place and id of every row as given, and the columns that were asked for."""

from __future__ import annotations

import bisect
import difflib
import itertools
import json
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc

from data_contracts.tables import row_predictions_schema
from tasks.errors import DataError, UsageError
from tasks.ingest.manifest.rows import Inline, Row
from tasks.ingest.manifest.source import Source
from tasks.problems.cells import is_empty, storable

ALL = "all"
CLASH = "input_"
"""Before the name of a column that predictions have one of."""
CHUNK_ROWS = 10_000
_CELL_ITEMS = 1_000
"""So many entries of a list the reader of Parquet passes on."""


class _Places:
    """Where the rows of a table stand, by the numbers that its reader gives them, which may count a header and empty lines."""

    def __init__(self) -> None:
        self._numbers: list[int] = []
        self._passed: list[int] = []
        """Up to a row of this number, so many numbers were of no row."""

    def count(self, rows: Iterable[Row]) -> Iterator[Row]:
        """The same rows."""
        for place, row in enumerate(rows):
            if not self._passed or row.number - place != self._passed[-1]:
                self._numbers.append(row.number)
                self._passed.append(row.number - place)
            yield row

    def place_of(self, number: int) -> int:
        """0-based."""
        return number - self._passed[bisect.bisect_right(self._numbers, number) - 1]


class CarriedColumns:
    """Cells of every row that a scan reads, in the order of the rows, on disk until they are asked for.

    A cell keeps its type where its whole column has it, and is text otherwise. A context: at its end the file is gone.
    """

    def __init__(self, asked: Sequence[str], folder: Path) -> None:
        """`asked`: names of columns, also several in one text, divided by commas; or `all`. `folder`: for the file of cells."""
        self._asked = tuple(asked)
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (see __exit__)
        self._places: dict[Path, _Places] = {}
        self._columns: dict[str, str] = {}
        self._types: dict[str, set[pa.DataType]] = {}
        self._inexact: set[str] = set()
        self.notes: list[str] = []
        """What is to be known of the cells, once all are read."""

    def __enter__(self) -> CarriedColumns:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def bind(self, sources: Sequence[Source]) -> list[Source]:
        """The same sources, whose rows are counted while they are read. UsageError for a column that none of them has."""
        self._columns = _resolve(self._asked, sources)
        return [self._count(source) for source in sources]

    def follow(self, picked: Iterable[tuple[Source, Row]]) -> Iterator[tuple[Source, Row]]:
        """The same rows, of these sources; the cells that are to be carried along are kept."""
        rows, held = iter(picked), set[str]()
        while chunk := list(itertools.islice(rows, CHUNK_ROWS)):
            cells: dict[str, list[Any]] = {
                "row": [self._places[source.manifest.path].place_of(row.number) for source, row in chunk],
                "id": [_id_cell(source, row) for source, row in chunk],
            }
            if chunk[0][0].table is not None:
                cells["table"] = [source.table for source, _ in chunk]
            for name, column in self._columns.items():
                cells[name] = [row.values.get(column) for _, row in chunk]
                if any(isinstance(cell, Inline) for cell in cells[name]):
                    self._refuse_media(column)
                    held.add(name)
                    cells[name] = [None if isinstance(cell, Inline) else cell for cell in cells[name]]
                elif any(isinstance(cell, list | dict) and len(cell) == _CELL_ITEMS for cell in cells[name]):
                    self._note(
                        f"column {column!r}: of lists with more than {_CELL_ITEMS} entries so many are carried along"
                    )
            self._keep({name: _array(values) for name, values in cells.items()})
            yield from chunk
        for name in held:
            self._types.pop(name)
            self._note(f"column {self._columns[name]!r}: holds media, which are not carried along")

    def tables(self) -> Iterator[pa.Table]:
        """The cells, CHUNK_ROWS rows at a time: `row` (0-based in its table), `id`, `table` where several were read, and the
        columns asked for.
        """
        kinds = {name: self._type_of(name) for name in self._types}
        self._file.seek(0)
        end = self._file.seek(0, 2)
        self._file.seek(0)
        while self._file.tell() < end:
            with pa.ipc.open_stream(self._file) as reader:
                table = reader.read_all()
            yield pa.table({name: _cast(table[name].combine_chunks(), kind) for name, kind in kinds.items()})

    # -- while the rows are read ---

    def _count(self, source: Source) -> Source:
        manifest = source.manifest
        places = self._places[manifest.path] = _Places()
        return replace(source, manifest=replace(manifest, rows=places.count(manifest.rows)))

    def _refuse_media(self, column: str) -> None:
        if ALL not in self._asked:
            raise UsageError(f"--columns {column}: holds media, which are not carried along; leave it out")

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def _keep(self, arrays: dict[str, pa.Array]) -> None:
        table = pa.table(arrays)
        for name, array in arrays.items():
            self._types.setdefault(name, set()).add(array.type)
            if pa.types.is_int64(array.type) and not _is_exact(array):
                self._inexact.add(name)
        with pa.ipc.new_stream(self._file, table.schema) as writer:  # each its own: a later chunk may have other types
            writer.write_table(table)

    def _type_of(self, name: str) -> pa.DataType:
        """The one type that all cells of a column have; text where there is none."""
        kinds = self._types[name] - {pa.null()}
        if not kinds:
            return pa.string()
        try:
            merged = pa.unify_schemas([pa.schema([(name, kind)]) for kind in kinds], promote_options="permissive")
        except pa.ArrowTypeError:
            return pa.string()
        kind = merged.field(name).type
        return pa.string() if pa.types.is_floating(kind) and name in self._inexact else kind


def _resolve(asked: Sequence[str], sources: Sequence[Source]) -> dict[str, str]:
    """Name in the output to name in the input. UsageError for a column that no table has, with the nearest that one has."""
    known = list(dict.fromkeys(name for source in sources for name in source.manifest.columns))
    named: list[str] = []
    for text in asked:
        whole = known if text == ALL else [text] if text in known else None
        named += [part.strip() for part in text.split(",") if part.strip()] if whole is None else whole
    if all(source.columns.id == "id" for source in sources):
        named = [name for name in named if name != "id"]  # predictions have it as it is
    for name in named:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise UsageError(
                f"--columns {name!r}: the data have no such column; {hint}They have {', '.join(known)}; or all"
            )
    taken = {*row_predictions_schema().names, "table"}
    columns: dict[str, str] = {}
    for name in dict.fromkeys(named):
        out = name
        while out in taken or (out != name and out in known):
            out = CLASH + out
        columns[out] = name
    return columns


def _id_cell(source: Source, row: Row) -> Any:
    cell = row.values.get(source.columns.id) if source.columns.id else None
    return None if is_empty(cell) or isinstance(cell, Inline) else cell


# -- cells as Arrow has them ---


def _array(cells: list[Any]) -> pa.Array:
    """The cells in the type that all of them have, as text where there is none."""
    if all(cell is None or isinstance(cell, str) for cell in cells) and any(cells):
        return pa.array([None if cell is None else storable(cell) for cell in cells], pa.string())
    try:
        return pa.array(cells)
    except (pa.ArrowException, OverflowError, UnicodeError):
        return pa.array(map(_text, cells), pa.string())


def _text(cell: Any) -> str | None:
    if cell is None or isinstance(cell, str):
        return None if cell is None else storable(cell)
    return storable(json.dumps(cell, ensure_ascii=False, default=str))


def _is_exact(integers: pa.Array) -> bool:
    """Whether a float holds each of them."""
    try:
        pc.cast(integers, pa.float64())
    except pa.ArrowInvalid:
        return False
    return True


def _cast(array: pa.Array, kind: pa.DataType) -> pa.Array:
    if array.type == kind:
        return array
    if pa.types.is_string(kind) or pa.types.is_null(array.type):
        return (
            pa.array(map(_text, array.to_pylist()), kind)
            if not pa.types.is_null(array.type)
            else pa.nulls(len(array), kind)
        )
    try:
        return pa.array(array.to_pylist(), kind)  # a struct may lack a field
    except pa.ArrowInvalid as error:
        raise DataError(f"a column to be carried along cannot be read as one type ({error})") from None
