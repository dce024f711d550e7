"""The first sheet of an Excel workbook, read by calamine in the process of isolated_worker.py."""

from __future__ import annotations

import datetime
import os
import zipfile
from collections.abc import Iterator
from typing import Any

from python_calamine import CalamineError, CalamineSheet, CalamineWorkbook, SheetTypeEnum, SheetVisibleEnum

from tasks.ingest.sources.isolated_messages import Send
from tasks.ingest.sources.parquet_worker import BATCH_ROWS, TINY_BYTES

_RATIO = 200
"""The text of a sheet packs to about a tenth; no honest one reaches this."""
_EXACT = 2**53
"""Beyond it a number of Excel's is not exact."""
_SHOWN = 5
Place = tuple[int, int]


def send_sheet(path: str, limit_bytes: float, send: Send) -> None:
    """Sends the names in the first row that holds anything, then the rows below, without empty ones. Raises OSError."""
    _require_proportion(path, limit_bytes)
    try:
        with CalamineWorkbook.from_path(path) as book:
            visible = [
                sheet.name
                for sheet in book.sheets_metadata
                if sheet.typ == SheetTypeEnum.WorkSheet and sheet.visible == SheetVisibleEnum.Visible
            ]
            if not visible:
                raise OSError("it has no sheet that is shown")
            others = [name for name in book.sheet_names if name != visible[0]]
            _send(book.get_sheet_by_name(visible[0]), others, send)
    except CalamineError as error:
        raise OSError(f"{type(error).__name__}: {error}") from None


def _send(sheet: CalamineSheet, others: list[str], send: Send) -> None:
    rows = _filled_rows(sheet)
    top, heading = next(rows, (0, []))
    _refuse_merged(sheet, top - 1)
    names = ["" if cell is None else str(cell).strip() for cell in heading]
    named = [place for place, name in enumerate(names) if name]
    found = list(rows)
    stray = sum(cell is not None for _, cells in found for place, cell in enumerate(cells) if not names[place])
    beside = f"; not read are {', '.join(others[:_SHOWN])}: to read another sheet, put it first" if others else ""
    notes = [f"sheet {sheet.name!r} is read, its headings stand in row {top}{beside}"]
    if stray:
        notes.append(
            f"sheet {sheet.name!r}: columns without a heading are left out ({stray} of their cells are filled); is that a "
            "title, or a second row of headings, above them? Headings are one row: delete what stands above it"
        )
    merged = sheet.merged_cell_ranges or []
    if merged:
        ranges = f"{len(merged)} ranges of cells are merged, the first is {_spelled(*merged[0])}"
        notes.append(f"sheet {sheet.name!r}: {ranges}; only the first cell of each holds its value")
    columns = [names[place] for place in named]
    send({"columns": columns, "inline": [False] * len(named), "rows": len(found), "classes": {}, "notes": notes}, b"")
    for start in range(0, len(found), BATCH_ROWS):
        batch = found[start : start + BATCH_ROWS]
        numbers = [number for number, _ in batch]
        send({"numbers": numbers, "batch": [[cells[place] for place in named] for _, cells in batch]}, b"")


def _filled_rows(sheet: CalamineSheet) -> Iterator[tuple[int, list[Any]]]:
    """The rows that hold anything, with the numbers that Excel shows."""
    for number, cells in enumerate(sheet.iter_rows(), start=1):
        read = [_cell(cell) for cell in cells]
        if any(cell is not None for cell in read):
            yield number, read


def _cell(cell: Any) -> str | int | float | bool | None:
    """A cell as JSON: nothing for an empty one or an error, whole numbers without a point, dates as ISO 8601."""
    if isinstance(cell, str):
        return cell or None
    if isinstance(cell, float):
        return int(cell) if cell.is_integer() and abs(cell) < _EXACT else cell
    if isinstance(cell, datetime.datetime | datetime.date | datetime.time):
        return cell.isoformat()
    return cell if isinstance(cell, bool | int) else str(cell)


def _refuse_merged(sheet: CalamineSheet, top: int) -> None:
    """Raises OSError for a heading over several columns or rows."""
    for first, last in sheet.merged_cell_ranges or []:
        if first[0] <= top <= last[0]:
            raise OSError(
                f"sheet {sheet.name!r}: its first filled row holds merged cells ({_spelled(first, last)}); a heading stands in "
                "one cell over one column: unmerge them, and delete titles above the headings"
            )


def _spelled(first: Place, last: Place) -> str:
    """A range as Excel writes it: B9:C10."""
    return ":".join(f"{_letters(column)}{row + 1}" for row, column in (first, last))


def _letters(column: int) -> str:
    letters = ""
    while column >= 0:
        column, rest = divmod(column, 26)
        letters, column = chr(ord("A") + rest) + letters, column - 1
    return letters


def _require_proportion(path: str, limit_bytes: float) -> None:
    """Raises OSError for what is no workbook, and for one whose parts declare to be much larger than it."""
    try:
        with zipfile.ZipFile(path) as parts:
            declared = sum(part.file_size for part in parts.infolist())
    # NotImplementedError: a version of zip that is none; ValueError: names in no encoding
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise OSError(f"{error}; save it as .xlsx, without a password") from None
    size = os.stat(path).st_size  # noqa: PTH116
    if declared > limit_bytes:
        raise OSError(f"it declares {declared} bytes, the limit is data.max_manifest_mb = {limit_bytes / 1e6:g}")
    if declared > max(TINY_BYTES, _RATIO * size):
        raise OSError(f"it has {size} bytes and declares {declared}")
