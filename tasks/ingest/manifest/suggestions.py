"""Columns that are probably meant though they have other names than ours: taken where there is one and it fits, and said."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from data_contracts.modalities import ALL_MODALITIES
from data_contracts.refs import Modality
from tasks.config import DataConfig, EncodersConfig
from tasks.ingest.manifest.column_hints import describe_hints, describe_numbers, note_boxes
from tasks.ingest.manifest.columns import column_names
from tasks.ingest.manifest.header_hints import propose_header
from tasks.ingest.manifest.media_index import MediaIndex
from tasks.ingest.manifest.nested_columns import add_nested, nested_cells
from tasks.ingest.manifest.rejected_answers import ANSWER, set_rejected_aside
from tasks.ingest.manifest.rows import Inline, Manifest, Purpose
from tasks.ingest.sources.listing import modality_of_file
from tasks.modalities import MODALITIES
from tasks.problems.cells import is_empty

PATHS = (
    *(
        "file_name",
        "filename",
        "file",
        "file_path",
        "filepath",
        "path",
        "image_id",
        "image_name",
        "img_path",
        "wav",
        "clip",
    ),
)
TEXTS = ("caption", "sentence", "transcript", "transcription")
LABELS = ("class", "category", "target", "y")
_OF_FILES = tuple(modality for modality in ALL_MODALITIES if MODALITIES[modality].suffixes)
_SAMPLE_ROWS = 100
_EXAMPLE_CHARS = 60
_WORDS = 3
_WORD = re.compile(r"[^\W\d_]{2,}")
_CLASSES_SHARE = 0.25
_SHARE = 0.5
"""Of the filled cells in a sample so many must be files that are there."""


@dataclass(frozen=True)
class Suggested:
    """The manifest, not yet read, and the config with the columns that were taken."""

    manifest: Manifest
    data: DataConfig
    notes: tuple[str, ...]
    hints: str
    """What a refusal for want of a column adds: columns that could be meant."""
    taken: Mapping[str, str]
    """Role or modality to the column that was taken for it."""
    examples: Mapping[str, str]
    """Column to the first filled cell of it among the first rows."""


def suggest_columns(
    manifest: Manifest, data: DataConfig, encoders: EncodersConfig, index: MediaIndex, purpose: Purpose
) -> Suggested:
    """The columns that a manifest probably means for what it has under none of our names."""
    mapped = _mapped(data)
    manifest = add_nested(manifest, sorted(name for name in mapped if ":" not in name))
    rows = iter(manifest.rows)
    first = list(itertools.islice(rows, _SAMPLE_ROWS))
    manifest = replace(manifest, rows=itertools.chain(first, rows))
    rejected: list[str] = []
    if purpose == "train" and ANSWER not in mapped:  # else what an annotator answered is what is learned
        manifest, rejected = set_rejected_aside(manifest, first)
    free = [name for name in manifest.columns if name not in mapped]
    examples = {name: found for name in manifest.columns if (found := _example(row.values.get(name) for row in first))}
    if not data.find_columns or manifest.path.is_dir():  # whose columns are its reader's own; it has been listed
        return Suggested(manifest, data, tuple(rejected), "", {}, examples)
    cells = {name: [row.values.get(name) for row in first] for name in free}
    lowered = {name.strip().lower(): name for name in reversed(free)}
    missing = [
        modality
        for modality in _OF_FILES
        if encoders.of(modality) != "off"
        and not data.columns.of(modality)
        and not any(name in lowered for name in column_names(modality, 1))
    ]
    taken: dict[str, str] = {}
    hints: dict[str, list[str]] = {}
    looked_at = [name for name in cells if missing and (len(missing) == len(_OF_FILES) or _may_be_files(name, cells))]
    of_files = {name: found for name in looked_at if (found := _modality_of_cells(cells[name], index)) is not None}
    known = [lowered[name] for name in PATHS if name in lowered]
    for modality in missing:
        named = [name for name in known if of_files.get(name) == modality]
        if len(named) == 1:
            taken[modality] = named[0]
        else:
            of_endings = [name for name in looked_at if _modality_of_endings(cells[name]) == modality]
            meant = [name for name in of_files if of_files[name] == modality]
            meant = meant or [name for name in looked_at if _name_several(cells[name], modality, index)]
            hints[modality] = [name for name in meant if name in of_endings] or meant or of_endings
    if "text" in missing:
        _take([lowered[name] for name in TEXTS if name in lowered], "text", taken, hints)
    is_whole = len(manifest.columns) > 1 or purpose == "predict"  # one column to train on: its cells were not divided
    if len(missing) == len(_OF_FILES) and is_whole and not taken and not any(hints.values()):
        hints["text"] = [name for name in cells if _are_sentences(cells[name])]
    if purpose == "train" and not data.columns.label and not data.columns.labels and "label" not in lowered:
        _suggest_label([lowered[name] for name in LABELS if name in lowered], cells, taken, hints)
    header = propose_header(manifest, cells)
    hint = header or describe_hints(hints, cells)
    of_media = [role for role, names in hints.items() if names and role not in ("text", "label")]
    if not (header or of_media or taken.keys() - {"label"}) and len(missing) == len(_OF_FILES):
        hint += describe_numbers(cells)
    notes = [*rejected, *(note_boxes(manifest) if purpose == "train" else [])]
    if not taken:
        return Suggested(manifest, data, tuple(notes), hint, {}, examples)
    roles = ", ".join(f"{role} from {name!r}" for role, name in taken.items())
    note = f"{manifest.path.name}: columns taken by what they hold: {roles} (data.columns names others)"
    columns = data.columns.model_copy(update=taken)
    if taken.get("text") in of_files:
        data = data.model_copy(update={"media": data.media.model_copy(update={"text_files": (taken["text"],)})})
    return Suggested(manifest, data.model_copy(update={"columns": columns}), (note, *notes), hint, taken, examples)


def _suggest_label(
    named: list[str], cells: Mapping[str, list[Any]], taken: dict[str, str], hints: dict[str, list[str]]
) -> None:
    """Takes the only column that is named as labels are; else columns whose cells recur as labels do are hints, also those
    within others."""
    _take(_without_codes(named, cells), "label", taken, hints)
    both = {**cells, **nested_cells(cells)}
    others = [name for name in both if all(name not in names for names in hints.values())]
    if "label" not in taken:
        hints.setdefault("label", [name for name in others if name not in taken.values() and _recur(both[name])])


def _example(cells: Iterable[Any]) -> str | None:
    """The first filled cell as text, cut short."""
    cell = next((cell for cell in cells if not is_empty(cell)), None)
    text = "bytes" if isinstance(cell, Inline | bytes) else "" if cell is None else str(cell)
    return text[:_EXAMPLE_CHARS] + ("…" if len(text) > _EXAMPLE_CHARS else "")


def _mapped(data: DataConfig) -> set[str]:
    """The columns that the config names for anything."""
    columns = data.columns
    entries = [entry for modality in ALL_MODALITIES for entry in columns.of(modality)] + list(columns.labels)
    roles = (columns.id, columns.label, columns.split, columns.group, columns.weight, columns.time)
    return {*entries, *(entry.rpartition(":")[0] for entry in entries), *(role for role in roles if role is not None)}


def _take(candidates: list[str], role: str, taken: dict[str, str], hints: dict[str, list[str]]) -> None:
    if len(candidates) == 1:
        taken[role] = candidates[0]
    elif candidates:
        hints[role] = candidates


def _are_sentences(cells: list[Any]) -> bool:
    """Whether most filled cells hold several words."""
    filled = [cell for cell in cells if not is_empty(cell)]
    return 2 * sum(isinstance(cell, str) and _count_words(cell) >= _WORDS for cell in filled) > len(filled)


def _count_words(text: str) -> int:
    """How many words hold letters: pixels and identifiers are no sentence."""
    return sum(_WORD.search(word) is not None for word in text.split())


def _name_several(cells: list[Any], modality: Modality, index: MediaIndex) -> bool:
    """Whether most filled cells fit several files equally well: train/1.png and test/1.png are both what 1 may mean."""
    filled = [cell for cell in cells if isinstance(cell, str) and cell.strip()]
    return bool(filled) and 2 * sum(len(index.candidates(cell, modality)) > 1 for cell in filled) > len(filled)


def _recur(cells: list[Any]) -> bool:
    """Whether the cells are few values that stand in several rows each, as classes do."""
    filled = [str(cell) for cell in cells if not is_empty(cell) and not isinstance(cell, Inline | bytes | dict)]
    return 1 < len(set(filled)) <= _CLASSES_SHARE * len(filled)


def _without_codes(candidates: list[str], cells: Mapping[str, list[Any]]) -> list[str]:
    """Without columns that only number what another one names, as `target` beside `category`: row by row one for one."""
    texts = {name: ["" if is_empty(cell) else str(cell) for cell in cells[name]] for name in candidates}
    codes = {name for name in candidates if all(text == "" or text.lstrip("-").isdigit() for text in texts[name])}
    names = [name for name in candidates if name not in codes]
    same = {
        code for code in codes for name in names
        if len(set(zip(texts[code], texts[name], strict=True))) == len(set(texts[code])) == len(set(texts[name])) > 1
    }  # fmt: skip
    return [name for name in candidates if name not in same]


def _may_be_files(name: str, cells: Mapping[str, list[Any]]) -> bool:
    """Whether to list the folder for a column's sake: its name, or endings in its cells, say that they are files."""
    endings = [isinstance(cell, str) and modality_of_file(cell) is not None for cell in cells[name]]
    return name.strip().lower() in PATHS or 2 * sum(endings) > len(endings)


def _modality_of_cells(cells: Iterable[Any], index: MediaIndex) -> Modality | None:
    """What the files are that most filled cells name; None where they name none, or files of several modalities."""
    filled = [cell for cell in cells if isinstance(cell, str) and cell.strip()]
    for modality in _OF_FILES:
        found = sum(index.find(cell, modality) is not None for cell in filled)
        if filled and found >= _SHARE * len(filled):
            return modality
    return None


def _modality_of_endings(cells: Iterable[Any]) -> Modality | None:
    """What most filled cells are by their ending."""
    filled = [cell for cell in cells if isinstance(cell, str) and cell.strip()]
    counts: Counter[Modality] = Counter(filter(None, map(modality_of_file, filled)))
    best = max(counts, key=lambda modality: counts[modality], default=None)
    return best if best is not None and counts[best] >= _SHARE * len(filled) else None
