"""What a run says of a manifest that was read: columns left out, absent, or doubtful."""

from __future__ import annotations

from collections.abc import Sequence

from data_contracts.modalities import ALL_MODALITIES, input_name
from data_contracts.refs import InputName
from tasks.config import RunConfig
from tasks.config_sections import CsvConfig
from tasks.errors import DataError
from tasks.ingest.manifest.cells import read_label
from tasks.ingest.manifest.joined_columns import describe_lacking
from tasks.ingest.manifest.number_forms import find_form
from tasks.ingest.manifest.raw_rows import RawRows
from tasks.ingest.manifest.slice_columns import find_slice_columns
from tasks.ingest.manifest.source import Source
from tasks.modalities import MODALITIES
from tasks.problems.registry import PROBLEMS

_DIFFERENT = 10
"""Fewer different numbers than this may be classes."""
_SHOWN_CHARS = 60


def describe_source(
    sources: list[Source], modalities: tuple[InputName, ...], table: RawRows, slices: tuple[str, ...] = ()
) -> list[str]:
    """What the readers noted, a line on every input that is left out, and one on the columns that are metadata."""
    columns = sources[0].columns
    notes = list(dict.fromkeys(note for source in sources for note in source.manifest.notes))
    every = {**columns.media, **{name: ", ".join(several) for name, several in columns.joined.items()}}
    for name, column in every.items():
        if name not in modalities:
            what = "is empty" if table.counts[name] == 0 else "has no usable cell"
            notes.append(f"column {column!r} {what} and is left out")
    sliced = find_slice_columns(slices, columns.unused)
    unused = [name for name in columns.unused if name not in sliced]
    if unused:
        notes.append(f"columns kept as metadata, not used: {', '.join(unused)}")
    return notes


def describe_absent(source: Source, config: RunConfig) -> list[str]:
    """A line on every column that the config names for an input and a manifest to be predicted lacks."""
    found = source.columns.media
    named = {
        input_name(modality, number): column
        for modality in ALL_MODALITIES
        if config.encoders.of(modality) != "off" and MODALITIES[modality].joined_columns() is None
        for number, column in enumerate(config.data.columns.of(modality), start=1)
    }
    lacking = [name for name in named if name not in found]
    return [
        *(f"no column {named[name]!r}: {name} is missing in every row" for name in lacking),
        *describe_lacking(source.columns.joined, config.data),
    ]


def note_likely_problem(table: RawRows, config: RunConfig) -> list[str]:
    """A line where labels that nobody called classes are many different numbers, or differ from row to row."""
    labels = table["label"].drop_null().to_pylist()
    different = len(set(labels))
    if config.data.problem != "auto" or config.data.columns.labels or different < _DIFFERENT:
        return []
    numeric = next(problem.name for problem in PROBLEMS.values() if problem.is_numeric)
    is_plain = all(read_label(label, "label", numeric)[0] is not None for label in labels)
    if different == len(labels):
        if is_plain or _have_form(labels, config.data.csv):
            many = "every row has another number, and each"
        else:
            return [
                f"label: every row has another label ({labels[0][:_SHOWN_CHARS]!r}), and each is taken for a class; "
                "data.columns.label names another column"
            ]
    elif is_plain and (different * 2 > len(labels) or not all(label.lstrip("+-").isdigit() for label in labels)):
        many = f"{different} different numbers, and each"
    else:
        return []
    return [f"label: {many} is taken for a class; data.problem={numeric} predicts numbers"]


def _have_form(labels: Sequence[str], options: CsvConfig) -> bool:
    """Whether all labels are numbers as people write them: 7,5 or 1,234.50."""
    try:
        return find_form(labels, options, "label") is not None
    except DataError:  # in two forms at once
        return True
