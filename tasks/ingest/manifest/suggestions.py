"""Columns that are probably meant though they have other names than ours: taken where there is one and it fits, and said."""

from __future__ import annotations

import itertools
import json
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from data_contracts.modalities import ALL_MODALITIES
from data_contracts.refs import Modality
from tasks.config import DataConfig, EncodersConfig
from tasks.ingest.manifest.columns import column_names
from tasks.ingest.manifest.media_index import MediaIndex
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
_NO_NAMES = (
    "; {!r} stands in a row, too: where the first line is a row already, write the names of the columns above it"
)
_REJECTED = frozenset({"reject", "ignore"})
"""What Prodigy writes besides accept."""
_FLAGS = ({"0", "1"}, {"-1", "1"})
_WORDS = 3
_CLASSES_SHARE = 0.25
_HINTS = 5
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
    rows = iter(manifest.rows)
    first = list(itertools.islice(rows, _SAMPLE_ROWS))
    manifest = replace(manifest, rows=itertools.chain(first, rows))
    mapped = _mapped(data)
    free = [name for name in manifest.columns if name not in mapped]
    examples = {name: found for name in manifest.columns if (found := _example(row.values.get(name) for row in first))}
    if not data.find_columns or manifest.path.is_dir():  # whose columns are its reader's own; it has been listed
        return Suggested(manifest, data, (), "", {}, examples)
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
            hints[modality] = [name for name in meant if name in of_endings] or meant or of_endings
    if "text" in missing:
        _take([lowered[name] for name in TEXTS if name in lowered], "text", taken, hints)
    is_whole = len(manifest.columns) > 1 or purpose == "predict"  # one column to train on: its cells were not divided
    if len(missing) == len(_OF_FILES) and is_whole and not taken and not any(hints.values()):
        hints["text"] = [name for name in cells if _are_sentences(cells[name])]
    if purpose == "train" and not data.columns.label and not data.columns.labels and "label" not in lowered:
        labels = [lowered[name] for name in LABELS if name in lowered]
        _take(_without_codes(labels, cells), "label", taken, hints)
        others = [name for name in cells if all(name not in names for names in hints.values())]
        if "label" not in taken:
            hints.setdefault("label", [name for name in others if name not in taken.values() and _recur(cells[name])])
    notes = _note_rejected(manifest, cells) if purpose == "train" else []
    unnamed = next((name for name in cells if name in cells[name]), None)
    flags = [name for name in hints.get("label", ()) if _are_flags(cells[name])]
    one_hot = _describe_flags(flags, cells) if len(flags) > 1 else ""
    if one_hot:
        hints["label"] = [name for name in hints["label"] if name not in flags]
    hint = _hint(hints) + one_hot if unnamed is None else _NO_NAMES.format(unnamed)
    if not taken:
        return Suggested(manifest, data, tuple(notes), hint, {}, examples)
    roles = ", ".join(f"{role} from {name!r}" for role, name in taken.items())
    note = f"{manifest.path.name}: columns taken by what they hold: {roles} (data.columns names others)"
    columns = data.columns.model_copy(update=taken)
    if taken.get("text") in of_files:
        data = data.model_copy(update={"media": data.media.model_copy(update={"text_files": (taken["text"],)})})
    return Suggested(manifest, data.model_copy(update={"columns": columns}), (note, *notes), hint, taken, examples)


def _example(cells: Iterable[Any]) -> str | None:
    """The first filled cell as text, cut short."""
    cell = next((cell for cell in cells if not is_empty(cell)), None)
    text = "bytes" if isinstance(cell, Inline | bytes) else "" if cell is None else str(cell)
    return text[:_EXAMPLE_CHARS] + ("…" if len(text) > _EXAMPLE_CHARS else "")


def _note_rejected(manifest: Manifest, cells: Mapping[str, list[Any]]) -> list[str]:
    """A note where Prodigy's column says that some rows were not accepted."""
    answers = {str(cell) for name in cells if name.strip().lower() == "answer" for cell in cells[name]}
    if "accept" not in answers or not answers & _REJECTED:
        return []
    return [
        f"{manifest.path.name}: column 'answer' says which rows their annotator accepted; it is not read, and those with "
        f"{' or '.join(sorted(answers & _REJECTED))} are used, too: leave them out of the table where their labels do not hold"
    ]


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
    return 2 * sum(isinstance(cell, str) and len(cell.split()) >= _WORDS for cell in filled) > len(filled)


def _recur(cells: list[Any]) -> bool:
    """Whether the cells are few values that stand in several rows each, as classes do."""
    filled = [str(cell) for cell in cells if not is_empty(cell) and not isinstance(cell, Inline | bytes)]
    return 1 < len(set(filled)) <= _CLASSES_SHARE * len(filled)


def _are_flags(cells: list[Any]) -> bool:
    """Whether the cells say yes or no of a class, as 1 and 0."""
    return {str(cell).strip().removesuffix(".0") for cell in cells if not is_empty(cell)} in _FLAGS


def _describe_flags(names: list[str], cells: Mapping[str, list[Any]]) -> str:
    """How columns that say yes or no of a class each can be used: as one class in one-hot form, or as several labels."""
    shown = f"{', '.join(names[:_HINTS])}{', …' if len(names) > _HINTS else ''}"
    rows = zip(*(cells[name] for name in names), strict=True)
    if all([str(cell).strip().removesuffix(".0") for cell in row].count("1") == 1 for row in rows):
        return (
            f"; {shown} are one class in one-hot form: write one column that names it, with pandas "
            f"frame['label'] = frame[{names!r}].idxmax(axis=1)"
        )
    columns = shlex.quote(f"data.columns.labels={json.dumps(names, ensure_ascii=False)}")
    return f"; {shown} each say yes or no: --set {columns} takes each as a label of its own"


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


def _hint(hints: Mapping[str, list[str]]) -> str:
    """Role by role the columns that could be meant, the first few."""
    found = [
        " or ".join(f"--set {shlex.quote(f'data.columns.{role}={name}')}" for name in names[:_HINTS])
        for role, names in hints.items()
        if names
    ]
    return f"; here it could be {', and '.join(found)}" if found else ""


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
