"""A manifest with its columns resolved: which one is an input, a label, a split, and where its media may lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from data_contracts.recognition import Recognised, Recognition
from data_contracts.refs import InputName, ProblemName, Split
from tasks.config import DataConfig, EncodersConfig, RunConfig
from tasks.config_sections import MediaPathsConfig
from tasks.errors import DataError, UnknownColumns, UsageError
from tasks.ingest.manifest.columns import Columns, columns_by_name, find_columns
from tasks.ingest.manifest.file_states import FileStates
from tasks.ingest.manifest.fold_column import take_folds
from tasks.ingest.manifest.label_columns import UNLABELLED
from tasks.ingest.manifest.media_files import Roots, make_roots
from tasks.ingest.manifest.media_index import MediaIndex
from tasks.ingest.manifest.rows import Folds, Manifest, Purpose
from tasks.ingest.manifest.slice_columns import find_slice_columns
from tasks.ingest.manifest.suggestions import Suggested, suggest_columns
from tasks.ingest.sources.detect import open_manifest, tables_of
from tasks.ingest.sources.limits import read_limits
from tasks.ingest.sources.remote import make_remote
from tasks.ingest.sources.streams import format_of
from tasks.ingest.sources.tables import DELIMITED, OBJECTS, TABLES
from tasks.labels import label_columns
from tasks.modalities import MODALITIES

UNKNOWN = "not recognised"


@dataclass(frozen=True)
class Source:
    """One manifest with its columns resolved."""

    manifest: Manifest
    columns: Columns
    problems: tuple[ProblemName, ...]
    """Of the label columns."""
    split: str | None
    roots: Roots
    index: MediaIndex
    paths: MediaPathsConfig
    folds: Folds
    borrowed: dict[InputName, InputName]
    """What a row without it takes from another input: the sound of its video as the audio, a frame of it as the image."""
    metadata: tuple[str | None, ...] = ()
    """Columns that the samples carry along: without a role, the time, and those that slices are made of."""
    suggested: Mapping[str, str] = field(default_factory=dict)
    """Role or modality to the column that was taken for it though it has another name than ours."""
    examples: Mapping[str, str] = field(default_factory=dict)
    """Column to a cell of it."""
    split_words: dict[str, Split] = field(default_factory=dict)
    """Values of the split column, with what each was read as; filled while rows are read."""
    table: str | None = None
    """Its path beneath the data, where there are several."""


def open_sources(data: Path, config: RunConfig, purpose: Purpose, states: FileStates | None = None) -> list[Source]:
    """What lies at a data path, each with its columns; errors as those of open_manifest and resolve.

    `states`: where what is looked at is noted.
    """
    states = states or FileStates()
    limits = replace(read_limits(config), labelled=purpose == "train")
    manifests = open_manifest(data, limits)
    tables = tables_of([manifest for manifest, _ in manifests], data)
    order = sorted(range(len(manifests)), key=lambda place: manifests[place][1] != "train")  # refusals speak of train
    resolved = {place: resolve(*manifests[place], config, purpose, states) for place in order}
    return [replace(resolved[place], table=table) for place, table in enumerate(tables)]


def resolve(manifest: Manifest, split: str | None, config: RunConfig, purpose: Purpose, states: FileStates) -> Source:
    """The manifest with what its columns are; UsageError or DataError where the config or the columns do not fit."""
    missing = [root for root in config.data.allowed_roots if not Path(root).is_dir()]
    if missing:
        raise UsageError(f"data.allowed_roots: {missing[0]!r} is not a folder")
    index = MediaIndex((str(manifest.root), *config.data.allowed_roots), states)
    suggested = suggest_columns(manifest, config.data, config.encoders, index, purpose)
    data, fold_notes = take_folds(manifest.columns, suggested.data, config.split.folds)
    manifest = replace(suggested.manifest, notes=(*manifest.notes, *suggested.notes, *fold_notes))
    try:
        needs_label = split not in ("val", "test")  # of a competition these may have none
        columns = find_columns(
            manifest.columns, data, config.encoders, str(manifest.path), purpose, needs_label=needs_label
        )
        if needs_label:
            require_label(manifest, columns, purpose)
    except DataError as error:
        read_as = "".join(f"; {note}" for note in suggested.manifest.notes)
        message = f"{error}{suggested.hints}{_one_cell(manifest)}{read_as}{_unreadable(manifest)}"
        raise UnknownColumns(message, _recognised_by_then(suggested, config.data, config.encoders)) from None
    max_bytes, remote = config.media.max_file_mb * 1e6, make_remote(config)
    roots = make_roots(manifest.root, config.data.allowed_roots, max_bytes, remote, states)
    problems = tuple(column.problem for column in label_columns(config.data))
    media, folds = suggested.data.media, config.split.folds
    return Source(
        manifest,
        columns,
        problems,
        split,
        roots,
        index,
        media,
        folds,
        _borrowed(columns, config),
        (*columns.unused, columns.time, *find_slice_columns(config.slices, manifest.columns)),
        suggested.taken,
        suggested.examples,
    )


def _recognised_by_then(suggested: Suggested, data: DataConfig, encoders: EncodersConfig) -> Recognition:
    """What the reader chose, and every column with what it was recognised as, if anything."""
    manifest = suggested.manifest
    roles = {column: role for role, column in suggested.taken.items()}
    named = columns_by_name(manifest.columns, data, encoders)
    columns = [
        Recognised(
            column=name,
            role=named.get(name, roles.get(name, UNKNOWN)),
            how="its name" if name in named else "its name suggests it" if name in roles else "its name is of no role",
            example=suggested.examples.get(name),
        )
        for name in manifest.columns
    ]
    return Recognition(found=(*manifest.recognition.found, *columns))


def _borrowed(columns: Columns, config: RunConfig) -> dict[InputName, InputName]:
    """Which inputs take the medium of another one where their own cell is empty."""
    lenders = {name: spec.borrowed_from for name, spec in MODALITIES.items() if config.encoders.of(name) != "off"}
    return {
        name: lender[0]
        for name, lender in lenders.items()
        if lender is not None and lender[0] in columns.media and getattr(config.media, lender[1])
    }


def _one_cell(manifest: Manifest) -> str:
    """What to do about a CSV file whose header is one cell, and a JSON file that is one object."""
    ending = format_of(manifest.path.name)
    if ending in DELIMITED and len(manifest.columns) == 1:
        return (
            "; its first filled line, where the columns are named, holds one name: data.csv.delimiter says what divides it, "
            "data.csv.skiprows how many lines stand above it"
        )
    if ending in OBJECTS and manifest.count == 1:
        return "; it holds one JSON object, which is one row: rows are the objects of an array, or one a line"
    return ""


def _unreadable(manifest: Manifest) -> str:
    """What else is wrong with a manifest that is refused for its columns: rows that could not be read, with the first."""
    rows = list(manifest.rows)
    bad = [row for row in rows if row.reason not in (None, UNLABELLED)]
    return (
        f"; also, {bad[0].reason} in {len(bad)} of {len(rows)} rows, row {bad[0].number}: {bad[0].detail}"
        if bad
        else ""
    )


def require_label(manifest: Manifest, columns: Columns, purpose: Purpose) -> None:
    """Raises DataError where a manifest to train on has no label column."""
    if purpose == "train" and columns.label is None:
        if manifest.path.is_dir() and "label" not in manifest.columns:
            is_text = "text_path" in manifest.columns
            of_text = (
                "; where such a file is a table itself, give it, and say what divides its cells in data.csv.delimiter (also "
                "data.csv.skiprows, data.csv.header)"
            )
            of_text = of_text if is_text else ""
            raise DataError(
                f"data {manifest.path}: {manifest.count} file{'s' if manifest.count > 1 else ''} without labels; to train, put "
                "those of each class in a folder of its own, or give a table that names files and labels, which ends in "
                f"{', '.join(TABLES)}; crossmodal predict answers files without labels{of_text}"
            )
        names = ", ".join(manifest.columns)
        raise DataError(
            f"manifest {manifest.path}: no column 'label' among {names}; map one with --set data.columns.label=COLUMN"
        )
