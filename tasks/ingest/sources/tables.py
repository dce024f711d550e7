"""The registry of readers: which file ending is read by which. A reader is one file: it opens a table as a Manifest, that
is columns, an iterator of rows that streams, notes and a count; what cannot be read costs its row where the format allows.
"""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from tasks.errors import DataError, UsageError
from tasks.ingest.manifest.rows import Manifest
from tasks.ingest.sources.delimited.reader import open_delimited
from tasks.ingest.sources.fasttext import LABEL, open_fasttext
from tasks.ingest.sources.isolated import FORMATS, open_isolated
from tasks.ingest.sources.json_document import open_document
from tasks.ingest.sources.json_rows import open_json
from tasks.ingest.sources.limits import ReadLimits
from tasks.ingest.sources.streams import PACKED, TableFile, format_of
from tasks.media.files import LFS_POINTER

ARCHIVE = re.compile(r"\.(?:tar\.(?:gz|bz2|xz|zst)|t[gbx]z|zip|7z|rar)$", re.IGNORECASE)
"""Ends the name of an archive, which is never unpacked here: what it holds may be a thousand times its size."""
Reader = Callable[[TableFile, ReadLimits], Manifest]
_HEAD_BYTES, _HEAD_ROWS, _WHOLE_SHARE = 256, 200, 0.9
_MARKS = {
    b"PK\x03\x04": "an Excel workbook or a zip archive: name it .xlsx, or unpack it",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook: save it as .xlsx",
    b"PAR1\x15": "Parquet: name it .parquet",
    b"ARROW1\x00": "Arrow: name it .arrow",
    b"\x1f\x8b": "packed by gzip: let its name end in .gz",
    b"\x28\xb5\x2f\xfd": "packed by zstd: let its name end in .zst",
}
"""First bytes to what such a file is, and what to do."""
_SHEETS = (".xls", ".xlsb", ".xlsm", ".ods", ".numbers")
"""Endings of spreadsheets that have no reader."""

CVAT = "annotations.xml"
"""What CVAT calls its export: other XML in a folder is no table."""
DELIMITED = (".csv", ".tsv")
"""Endings of files whose first line names the columns."""
OBJECTS = (".jsonl", ".ndjson", ".json")
"""Endings of files that hold a JSON object a row."""


def _open_isolated(file: TableFile, limits: ReadLimits) -> Manifest:
    return open_isolated(file.path, limits)


TABLES: Mapping[str, Reader] = MappingProxyType(
    {
        **dict.fromkeys(DELIMITED, open_delimited),
        **dict.fromkeys(OBJECTS, open_json),
        ".json": open_document,
        **dict.fromkeys(FORMATS, _open_isolated),
    }
)
"""Accepted file endings with their readers. Those that are read as text may be packed."""


def is_table(name: str) -> bool:
    """Whether a file of this name, found in a folder, has a reader."""
    return _has_reader(name) and (format_of(name) != ".xml" or Path(name).name.lower() == CVAT)


def _has_reader(name: str) -> bool:
    ending = format_of(name)
    return ending in TABLES and (ending not in FORMATS or Path(name).suffix.lower() not in PACKED)


def _unpacking(path: Path) -> str:
    """The command that unpacks an archive."""
    name, ending = shlex.quote(path.name), path.suffix.lower()
    if ending in (".zip", ".7z", ".rar"):
        return {".zip": f"unzip {name} -d FOLDER", ".7z": f"7z x {name}", ".rar": f"unrar x {name}"}[ending]
    return f"tar -xf {name}"


def _require_size(path: Path, limits: ReadLimits) -> None:
    size = path.stat().st_size
    if size == 0:
        raise DataError(f"manifest {path}: the file is empty")
    if size > limits.manifest_mb * 1e6:
        raise DataError(f"manifest {path}: {size} bytes; the limit is data.max_manifest_mb = {limits.manifest_mb:g}")


def _refuse_other_format(path: Path) -> None:
    """Raises DataError for a pointer of Git LFS, and for a file under the ending of a text whose first bytes are those of
    another format.
    """
    with path.open("rb") as file:
        start = file.read(len(LFS_POINTER))
    if start == LFS_POINTER:
        raise DataError(f"manifest {path}: a pointer of Git LFS in place of the file: git lfs pull fetches it")
    if format_of(path.name) not in (*DELIMITED, *OBJECTS) or path.suffix.lower() in PACKED:
        return
    found = next((what for mark, what in _MARKS.items() if start.startswith(mark)), None)
    if found is not None:
        raise DataError(
            f"manifest {path}: no {format_of(path.name)}, as its name says; by its first bytes it is {found}"
        )


def open_unnamed(path: Path, limits: ReadLimits) -> Manifest | None:
    """The rows of a file whose ending says nothing (.txt, .lst, .manifest), where it holds JSON objects or a table of at least
    two columns, as almost all of its first rows show, or lines of fastText; else None. Where the config says what divides its
    cells, or what its columns are called, it is a table, and DataError says what is wrong with it.
    """
    _require_size(path, limits)
    file = TableFile(path, limits.manifest_mb)
    note = f"{path.name}: its ending says nothing; by what it holds it is read as "
    asked = bool(limits.csv.header) or limits.csv.delimiter != "auto"
    try:
        with file.open() as opened:
            start = opened.read(_HEAD_BYTES).lstrip(b"\xef\xbb\xbf \r\n")
        if start.startswith(LABEL.encode()) and not asked:
            return open_fasttext(file)
        is_json = start.startswith(b"{")
        manifest = (open_json if is_json else open_delimited)(file, limits)
    except DataError:
        if asked:
            raise
        return None
    rows = iter(manifest.rows)
    first = list(itertools.islice(rows, _HEAD_ROWS))
    whole = sum(row.reason is None for row in first)
    if not asked and (len(manifest.columns) < 2 or not first or whole < _WHOLE_SHARE * len(first)):
        return None
    what = "JSON, an object a line" if is_json else "a table"
    return replace(manifest, rows=itertools.chain(first, rows), notes=(*manifest.notes, note + what))


def open_table(path: Path, limits: ReadLimits) -> Manifest:
    """The rows of a table file. UsageError for an unknown ending, DataError for a file that is not such a table."""
    if not _has_reader(path.name):
        if ARCHIVE.search(path.name):
            raise UsageError(
                f"data {str(path)!r}: a packed archive; unpack it first ({_unpacking(path)}) and give what was in it: "
                "the folder, or, of WebDataset's shards, the .tar"
            )
        if path.is_file() and (found := open_unnamed(path, limits)) is not None:
            return found
        accepted = ", ".join(TABLES)
        raise UsageError(
            f"data {str(path)!r}: {path.suffix.lower() or 'no'} ending; accepted are {accepted} (those of text also packed as "
            f"{' or '.join(PACKED)}), or a folder per class; "
            + (
                "save its sheet as .xlsx or .csv"
                if path.suffix.lower() in _SHEETS
                else "unpack or convert anything else"
            )
        )
    _require_size(path, limits)
    _refuse_other_format(path)
    return TABLES[format_of(path.name)](TableFile(path, limits.manifest_mb), limits)
