"""A corrections file: labels that a person found wrong, applied to the rows of a manifest by id, or refused as a whole."""

from __future__ import annotations

import csv
import difflib
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from data_contracts.corrections import CorrectionsRef
from data_contracts.refs import InputName
from tasks.errors import DataError, UsageError
from tasks.escaping import one_line, spreadsheet_cell
from tasks.ingest.manifest.label_spelling import label_text
from tasks.ingest.manifest.raw_rows import RawRows
from tasks.modalities import spec_of
from tasks.store import digest_json

COLUMNS = ("id", "label", "new_label")
DROP = "drop"
"""In place of a new label: the row is not used."""
DROPPED = "dropped-by-correction"
"""Reason of such a row in quarantine.csv."""
_DELIMITERS = ",;\t"
_SHOWN = 3


class Correction(NamedTuple):
    """One line."""

    line: int
    id: str
    label: str
    """That the row has; where it has another one by now, the line is about a row that nobody looked at."""
    new: str
    """Its right label; DROP; or empty: it stays as it is."""


@dataclass(frozen=True)
class Corrections:
    """The lines of a file."""

    path: str
    lines: tuple[Correction, ...]

    @property
    def sha256(self) -> str:
        """Of what the lines say, whatever their order."""
        return digest_json(sorted([each.id, each.label, each.new] for each in self.lines))


def read_corrections(path: str) -> Corrections:
    """The lines of a CSV file with the columns id, label and new_label. UsageError where it is none, or names an id twice."""
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            head = file.readline()
            delimiter = max(_DELIMITERS, key=head.count)
            file.seek(0)
            reader = csv.DictReader(file, delimiter=delimiter)
            lacking = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
            if lacking:
                raise UsageError(
                    f"data.corrections {path!r}: has no column {lacking[0]!r}; it takes {', '.join(COLUMNS)}, as "
                    "crossmodal audit writes them into corrections.csv"
                )
            lines = tuple(
                Correction(reader.line_num, *(str(row[name] or "").strip() for name in COLUMNS)) for row in reader
            )
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"data.corrections {path!r}: cannot be read as a CSV file in UTF-8 ({error})") from None
    empty = next((each for each in lines if not each.id), None)
    if empty is not None:
        raise UsageError(f"data.corrections {path!r}: line {empty.line} has no id")
    twice = [each for each, count in Counter(each.id for each in lines).items() if count > 1]
    if twice:
        raise UsageError(f"data.corrections {path!r}: id {twice[0]!r} stands in several lines; leave one")
    return Corrections(path, lines)


def apply_corrections(
    table: RawRows, path: str, inputs: Sequence[InputName], is_part: bool
) -> tuple[CorrectionsRef, list[str]]:
    """The raw rows have their corrected labels, those to drop a reason; what was done, and a note on it.

    Rows with the very media of a corrected one, and its label, are corrected with it: else the two would contradict each
    other. `is_part`: only some of the manifest's rows were read (data.max_rows). DataError where a line is about no row, or
    about a row with another label by now, or gives a label that no row has: nothing is applied then.
    """
    corrections = read_corrections(path)
    ids, labels = table["id"].to_pylist(), table["label"].to_pylist()
    known = {label for label in labels if label is not None}
    places: dict[str, list[int]] = {}
    for place, each in enumerate(ids):
        places.setdefault(each, []).append(place)
    lines = [_plain(each, places, known) for each in corrections.lines]
    if DROP in known and any(each.new == DROP for each in lines):
        raise DataError(f"{_where(path)}: {DROP!r} is a label of these data, too; rename it to drop rows by a file")
    unknown = [each for each in lines if each.id not in places]
    if unknown and not is_part:
        raise _refusal(path, unknown, "no row has this id", "is the file of other data?")
    found = [each for each in lines if each.id in places]
    stale = [each for each in found if not any(labels[place] == each.label for place in places[each.id])]
    if stale:
        now = labels[places[stale[0].id][0]]
        text = f"its label is {now!r} by now" if now is not None else "it has no label that can be read"
        raise _refusal(path, stale, text, "run crossmodal audit again, or take the lines out")
    _require_known(path, found, known)
    changes = {each.id: each for each in found if each.new and each.new != each.label}
    changed = _apply(table, changes, inputs, corrections)
    copies = len(changed) - len(changes)
    dropped = [place for place, new in changed.items() if new == DROP]
    splits = table["split"].to_pylist()
    ref = CorrectionsRef(
        sha256=corrections.sha256,
        relabelled=len(changed) - len(dropped),
        dropped=len(dropped),
        kept=len(found) - len(changes),
        unused=len(unknown),
        splits=dict(sorted(Counter(splits[place] or "none" for place in changed).items())),
    )
    return ref, [describe(ref, copies)]


def describe(ref: CorrectionsRef, copies: int = 0) -> str:
    """What a file changed, as a line for people."""
    parts = [f"{ref.relabelled:,} labels changed, {ref.dropped:,} rows dropped"]
    parts += [f"{copies:,} of these as copies of others"] if copies else []
    parts += [f"{ref.kept:,} lines without a change"] if ref.kept else []
    parts += [f"{ref.unused:,} lines about rows that data.max_rows leaves out"] if ref.unused else []
    held_out = {split: ref.splits[split] for split in ("val", "test") if ref.splits.get(split)}
    if held_out:
        listed = " and ".join(f"{rows:,} of {split}" for split, rows in held_out.items())
        parts += [f"{listed} among them: figures on those rows are not comparable with earlier ones"]
    return f"corrections (sha256 {ref.sha256[:12]}…): {'; '.join(parts)}"


def _apply(
    table: RawRows, changes: dict[str, Correction], inputs: Sequence[InputName], corrections: Corrections
) -> dict[int, str]:
    """Position of every changed row to what it is changed to; the table has the changes."""
    ids, labels = table["id"].to_pylist(), table["label"].to_pylist()
    reasons, details = table["reason"].to_pylist(), table["detail"].to_pylist()
    identifying = [name for name in inputs if spec_of(name).identifies]
    contents = list(zip(*(table[f"{name}_sha256"].to_pylist() for name in inputs), strict=True)) if identifying else []
    of_content = {
        (contents[place], labels[place]): change
        for place, each in enumerate(ids)
        if contents and (change := changes.get(each)) is not None and any(contents[place])
    }
    changed = {}
    for place, each in enumerate(ids):
        change = changes.get(each) or (of_content.get((contents[place], labels[place])) if contents else None)
        if change is None or labels[place] != change.label:
            continue
        changed[place] = change.new
        if change.new != DROP:
            labels[place] = change.new
        elif reasons[place] is None:
            reasons[place], details[place] = DROPPED, f"line {change.line} of {Path(corrections.path).name}"
    for name, cells in (("label", labels), ("reason", reasons), ("detail", details)):
        table.replace(name, cells)
    return changed


def _plain(each: Correction, ids: Collection[str], labels: Collection[str]) -> Correction:
    """The line without the quotation marks that make a cell inert in a spreadsheet."""

    def plain(cell: str, known: Collection[str], read: Callable[[str], str | None] = str) -> str:
        """The cell as the data have it."""
        text = read(cell) or ""
        inner = text[1:]
        return inner if text not in known and inner in known and spreadsheet_cell(inner) == text else text

    new = each.new if each.new == DROP else plain(each.new, labels, label_text)
    return each._replace(id=plain(each.id, ids), label=plain(each.label, labels, label_text), new=new)


def _require_known(path: str, lines: Sequence[Correction], labels: Collection[str]) -> None:
    odd = [each for each in lines if each.new not in ("", DROP) and each.new not in labels]
    if odd:
        near = difflib.get_close_matches(odd[0].new, labels, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(sorted(labels)[:5])}"
        raise _refusal(path, odd, f"no row of the data has the new label {odd[0].new!r}", hint)


def _refusal(path: str, lines: Sequence[Correction], problem: str, to_do: str) -> DataError:
    first = lines[0]
    more = f" (and {len(lines) - 1} more lines: {', '.join(_named(lines[1:]))})" if len(lines) > 1 else ""
    return DataError(
        f"{_where(path)}: line {first.line}, id {one_line(first.id, 80)!r}, label {one_line(first.label, 80)!r}: "
        f"{problem}{more}; nothing was applied: {to_do}"
    )


def _named(lines: Sequence[Correction]) -> Iterator[str]:
    yield from (str(each.line) for each in lines[:_SHOWN])
    if len(lines) > _SHOWN:
        yield "…"


def _where(path: str) -> str:
    return f"data.corrections {path!r}"
