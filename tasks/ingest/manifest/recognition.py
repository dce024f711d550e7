"""What was recognised in a manifest, gathered from those who recognised it, with the settings that make it unnecessary."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from data_contracts.modalities import modality_of
from data_contracts.recognition import Recognised, Recognition, SettingValue
from data_contracts.refs import IN_CELLS, ColumnType
from tasks.config import RunConfig
from tasks.ingest.manifest.label_columns import LabelCells
from tasks.ingest.manifest.missing_media import PathForm, Search
from tasks.ingest.manifest.raw_rows import RawRows
from tasks.ingest.manifest.source import Source
from tasks.ingest.sources.listing import split_of_name
from tasks.ingest.times import find_form

_ROLES = ("id", "label", "split", "group", "weight", "time")
_METADATA_SHOWN = 20
Settings = dict[str, SettingValue]


def recognise(
    sources: Sequence[Source],
    table: RawRows,
    data: Path,
    search: Search,
    labels: LabelCells,
    types: Mapping[str, ColumnType],
    config: RunConfig,
) -> Recognition:
    """What was recognised as what. `table`: the raw rows; `types`: of the columns that make one input."""
    parts = [
        _layout(sources, data, config),
        _agreed([source.manifest.recognition for source in sources]),
        _columns(sources, types, config),
        _splits(sources),
        _paths(search, config),
        _labels(labels, config),
        _times(table, config),
    ]
    found = tuple(line for part in parts for line in part.found)
    return Recognition(found=found, settings={key: value for part in parts for key, value in part.settings.items()})


def _agreed(readings: Sequence[Recognition]) -> Recognition:
    """What readers chose, each line once; settings only where all tables have the same."""
    found = tuple(dict.fromkeys(line for one in readings for line in one.found))
    first = readings[0].settings
    same = {key: value for key, value in first.items() if all(one.settings.get(key) == value for one in readings)}
    return Recognition(found=found, settings=same)


def _layout(sources: Sequence[Source], data: Path, config: RunConfig) -> Recognition:
    """What the data path was taken for."""
    paths = [source.manifest.path for source in sources]
    settings: Settings = {}
    if data.is_file():
        what, how = "a file", "data.path"
    elif all(source.manifest.of_lists for source in sources):
        what, how = "lists of files", "they name files of the folder"
        settings = {"data.layout": "lists"}
    elif all(path.is_dir() for path in paths):
        what, how = "a folder per class", "no table describes its files"
        settings = {"data.layout": "folders"}
    elif len(paths) == 1:
        what, how = "one table", "it is the manifest, or the one table that describes the folder"
        settings = {"data.table": os.path.relpath(paths[0], data)}
    else:
        folders = {path.parent for path in paths}
        what, how = "tables of splits", "their names, or those of their folders"
        if not any(source.split or split_of_name(source.manifest.path.name) for source in sources):
            what, how = "the parts of one table", "their names differ in numbers only"
        settings = {"data.layout": "tables"} if len(folders) == 1 else {}
        if len(folders) == 1 and folders != {data} and all(split_of_name(path.name) for path in paths):
            settings["data.config"] = folders.pop().name
    asked = {"data.layout": config.data.layout, "data.table": config.data.table, "data.config": config.data.config}
    named = [key for key in settings if asked[key] not in (None, "auto")]
    line = Recognised(
        role="layout", how=_set(named[0]) if named else how, example=f"{what}: {', '.join(_names(paths, data))}"
    )
    return Recognition(found=(line,), settings={} if named else settings)


def _names(paths: Sequence[Path], data: Path) -> list[str]:
    names = [path.name if path == data else os.path.relpath(path, data) for path in paths]
    return [*names[:3], *(["…"] if len(names) > 3 else [])]


def _columns(sources: Sequence[Source], types: Mapping[str, ColumnType], config: RunConfig) -> Recognition:
    """The column of each role and input, and those that have none."""
    first, asked = sources[0], config.data.columns
    examples = {name: cell for source in reversed(sources) for name, cell in source.examples.items()}
    found: list[Recognised] = []
    settings: Settings = {}

    def add(role: str, column: str, how: str) -> None:
        """A line on a column."""
        found.append(Recognised(column=column, role=role, how=how, example=examples.get(column)))

    for name, column in first.columns.media.items():
        modality = modality_of(name)
        named = bool(asked.of(modality))
        add(name, column, _set(f"data.columns.{modality}") if named else _how(name, column, first))
        if not named:
            several = tuple(col for other, col in first.columns.media.items() if modality_of(other) == modality)
            settings[f"data.columns.{modality}"] = several if len(several) > 1 else several[0]
    if first.paths.text_files != config.data.media.text_files:
        settings["data.media.text_files"] = first.paths.text_files
    for name, columns in first.columns.joined.items():
        entries = asked.of(modality_of(name))
        for column in columns:
            add(name, column, f"{_set(f'data.columns.{name}')}; {types.get(column, 'type unknown')}")
        typed = tuple(f"{column}:{types[column]}" for column in columns if column in types)
        if set(typed) != set(entries) and len(typed) == len(entries):
            settings[f"data.columns.{name}"] = typed
    for role in _ROLES:
        columns_of = dict.fromkeys(column for source in sources if (column := getattr(source.columns, role)))
        for column in columns_of:
            key = "labels" if role == "label" and asked.labels else role
            named = bool(getattr(asked, key))
            add(role, column, _set(f"data.columns.{key}") if named else _how(role, column, first))
            if not named and len(columns_of) == 1:
                settings[f"data.columns.{role}"] = column
    for column in first.columns.labels[1:]:
        add("label", column, _set("data.columns.labels"))
    for column in first.columns.unused[:_METADATA_SHOWN]:
        add("metadata", column, "its name is of no role")
    if config.data.find_columns and _same_columns(sources):
        settings["data.find_columns"] = False
    return Recognition(found=tuple(found), settings=settings)


def _same_columns(sources: Sequence[Source]) -> bool:
    """Whether every table has a column for the same roles, but for labels: then all can be named."""
    roles = [role for role in _ROLES if role != "label"]
    return len({tuple(getattr(source.columns, role) for role in roles) for source in sources}) == 1


def _how(role: str, column: str, source: Source) -> str:
    if source.suggested.get(role) == column:
        names_files = role in source.columns.media and (role not in IN_CELLS or column in source.paths.text_files)
        return f"its name suggests it{', and its cells name files' if names_files else ''}"
    return "the folder's files" if source.manifest.path.is_dir() else "its name"


def _splits(sources: Sequence[Source]) -> Recognition:
    """What the values of the split column were read as."""
    words = {word: split for source in sources for word, split in sorted(source.split_words.items())}
    column = next((source.columns.split for source in sources if source.columns.split), None)
    if not words or column is None:
        return Recognition()
    folds = {split: tuple(sorted(word for word in words if words[word] == split)) for split in ("train", "val", "test")}
    readings = ", ".join(f"{word!r} is {split}" for word, split in sorted(words.items()))
    line = Recognised(column=column, role="split words", how="the usual words", example=readings)
    return Recognition(found=(line,), settings={"split.folds": folds})


def _paths(search: Search, config: RunConfig) -> Recognition:
    """How files were found that are not where their cells say."""
    asked, forms = config.data.media, search.forms
    if not asked.search or not search.found:
        return Recognition(settings={"data.media.search": False} if asked.search else {})
    found = []
    for name, cells in search.found.items():
        form = forms.get(name)
        how = "one base and suffix fit all" if form else "looked for by name beneath the manifest's folders"
        found.append(
            Recognised(
                role=f"files of {name}",
                how=how,
                example="{}/CELL{}".format(*form) if form else min(cells.items())[1],
            )
        )
    by_modality = {modality_of(name): form for name, form in forms.items()}
    if search.missed or asked.base or asked.prefix or asked.suffix or len(by_modality) < len(search.found):
        return Recognition(found=tuple(found))  # files are looked for again
    settings: Settings = {"data.media.search": False}
    for part in PathForm._fields:
        filled: dict[str, str] = {
            modality: value for modality, form in by_modality.items() if (value := getattr(form, part))
        }
        settings |= {f"data.media.{part}": filled} if filled else {}
    return Recognition(found=tuple(found), settings=settings)


def _labels(labels: LabelCells, config: RunConfig) -> Recognition:
    """The problem, and how label cells are written."""
    found, data = [], config.data
    settings: Settings = {}
    for name, problem in labels.columns:
        is_set = data.problem != "auto" or bool(data.columns.labels)
        how = _set("data.columns.labels" if data.columns.labels else "data.problem") if is_set else "the default"
        found.append(Recognised(column=name, role="problem", how=how, example=problem))
    if data.problem == "auto" and labels.columns:
        settings["data.problem"] = "multiclass"
    chosen = [one for one in labels.settings if one]
    for key in dict.fromkeys(key for one in chosen for key in one):
        values = [one[key] for one in chosen if key in one]
        column = next(name for (name, _), one in zip(labels.columns, labels.settings, strict=True) if key in one)
        what = key.rpartition(".")[2].replace("_", " ")
        found.append(Recognised(column=column, role=what, how="the whole column", example=repr(values[0])))
        settings |= {key: values[0]} if all(value == values[0] for value in values) else {}
    return Recognition(found=tuple(found), settings=settings)


def _times(table: RawRows, config: RunConfig) -> Recognition:
    """How times are written, where they are read."""
    texts = table["time"].drop_null().to_pylist() if config.split.by == "time" else []
    form = find_form(texts, config.data.time_format)
    if not texts or form.name is None or config.data.time_format != "auto":
        return Recognition()
    line = Recognised(role="time format", how="all times have it", example=f"{texts[0]} is {form.name}")
    return Recognition(found=(line,), settings={"data.time_format": form.name})


def _set(key: str) -> str:
    return f"set: {key}"
