"""Which column of a manifest holds what: by name, unless the config maps it."""

from __future__ import annotations

import difflib
from collections import Counter
from dataclasses import dataclass

from data_contracts.modalities import MAX_INPUTS, input_name
from data_contracts.refs import InputName, Modality
from tasks.config import DataConfig, EncodersConfig
from tasks.errors import DataError, UsageError
from tasks.ingest.manifest.rows import Purpose
from tasks.labels import label_columns
from tasks.modalities import MODALITIES

_ROLES = {
    "id": ("id", "sample_id"),
    "label": ("label",),
    "split": ("split",),
    "group": ("group",),
    "weight": ("weight",),
    "time": ("time",),
}

_OPTIONAL = frozenset({"split", "group", "weight", "time"})
"""Of two such columns whose names differ in case only, the one that is spelt as ours is meant."""
_NAMES_SHOWN = 20


@dataclass(frozen=True)
class Columns:
    """The column of each role and of each modality; a role that the manifest does not fill is None."""

    id: str | None
    label: str | None
    labels: tuple[str, ...]
    """All label columns, the first one first; empty where there is none."""
    split: str | None
    group: str | None
    weight: str | None
    time: str | None
    media: dict[InputName, str]
    joined: dict[InputName, tuple[str, ...]]
    """Inputs that are made of several columns."""
    unused: tuple[str, ...]
    """Columns that are kept out: metadata, or modalities whose encoder is off."""


def find_columns(
    names: tuple[str, ...],
    data: DataConfig,
    encoders: EncodersConfig,
    where: str,
    purpose: Purpose = "train",
    *,
    needs_label: bool = True,
) -> Columns:
    """Every role's column. UsageError for a mapped column that is not there; DataError when no medium is found.

    A prediction needs no label, split, group, weight or time: where such a column is mapped and not there, it has none.
    `needs_label`: the same for the label of a table to train on.
    """
    config = data.columns
    first, *others = label_columns(data)
    asked = {role: getattr(config, role) for role in _ROLES} | {"label": first.name}
    needless = set(_ROLES) - {"id"} if purpose == "predict" else set() if needs_label else {"label"}
    roles: dict[str, str | None] = {}
    for role, aliases in _ROLES.items():
        listed = "labels" if role == "label" and config.labels else role
        absent = asked[role] is not None and asked[role] not in names
        known = aliases if data.find_columns else ()
        free = names if asked[role] else tuple(name for name in names if name not in asked.values())
        roles[role] = None if absent and role in needless else _find(free, listed, known, asked[role], where)
    others = [column for column in others if needs_label or column.name in names]
    more = [_find(names, "labels", (), column.name, where) for column in others]
    labels = tuple(name for name in (roles["label"], *more) if name is not None)
    media: dict[InputName, str] = {}
    joined: dict[InputName, tuple[str, ...]] = {}
    for modality, spec in MODALITIES.items():
        if encoders.of(modality) == "off":
            continue
        if spec.joined_columns() is None:
            media |= _find_inputs(names, modality, data, where, purpose)
        elif config.of(modality):
            joined[modality] = _find_joined(names, modality, config.of(modality), where, purpose)
    taken = {column: role for role, column in roles.items() if column is not None} | dict.fromkeys(labels, "label")
    _refuse_shared(joined, taken | {column: name for name, column in media.items()})
    if not media and not joined:
        read = {name: spec for name, spec in MODALITIES.items() if encoders.of(name) != "off"}
        accepted = ", ".join(name for spec in read.values() for name in spec.columns)
        model = f"; the model reads {', '.join(read)}" if purpose == "predict" else ""
        raise DataError(
            f"manifest {where}: none of its columns ({_shown(names)}) holds a medium{model}; name one {accepted}, "
            f"or map it with --set data.columns.{next(iter(read), 'image')}=COLUMN"
        )
    used = {*roles.values(), *labels, *media.values(), *(column for columns in joined.values() for column in columns)}
    unused = tuple(name for name in names if name not in used)
    return Columns(**roles, labels=labels, media=media, joined=joined, unused=unused)


def _shown(names: tuple[str, ...]) -> str:
    return ", ".join(names[:_NAMES_SHOWN]) + (f", … {len(names)} in all" if len(names) > _NAMES_SHOWN else "")


def columns_by_name(names: tuple[str, ...], data: DataConfig, encoders: EncodersConfig) -> dict[str, str]:
    """Column to its role or input, of the columns that the config names and those whose name is one of a role's or input's."""
    known = {role: (getattr(data.columns, role),) if getattr(data.columns, role) else _ROLES[role] for role in _ROLES}
    known |= {
        modality: data.columns.of(modality) or column_names(modality, 1)
        for modality in MODALITIES
        if encoders.of(modality) != "off"
    }
    return {
        name: role
        for role, accepted in known.items()
        for name in names
        if name.strip().lower() in accepted or name in accepted
    }


def _find_joined(
    names: tuple[str, ...], modality: Modality, entries: tuple[str, ...], where: str, purpose: Purpose
) -> tuple[str, ...]:
    """The columns that make one input, as the config names them; a prediction does without some, but not without all.

    UsageError for one that is not there, and for one that is named twice.
    """
    joined_columns = MODALITIES[modality].joined_columns()
    assert joined_columns is not None
    columns = [joined_columns.split_entry(entry)[0] for entry in entries]
    twice = [column for column, count in Counter(columns).items() if count > 1]
    if twice:
        raise UsageError(f"data.columns.{modality}: names the column {twice[0]!r} twice")
    missing_is_fine = purpose == "predict" and any(column in names for column in columns)
    found = [_find(names, modality, (), column, where) for column in columns if column in names or not missing_is_fine]
    return tuple(column for column in found if column is not None)


def _refuse_shared(joined: dict[InputName, tuple[str, ...]], taken: dict[str, str]) -> None:
    """Raises UsageError where a column of several is read as something else already: as the label, as a text."""
    for name, columns in joined.items():
        for column in columns:
            if column in taken:
                raise UsageError(
                    f"data.columns.{name}: column {column!r} is read as {taken[column]} already; leave it out of one of them"
                )


def _find_inputs(
    names: tuple[str, ...], modality: Modality, data: DataConfig, where: str, purpose: Purpose
) -> dict[InputName, str]:
    """Every input of a kind with its column: those that the config names, else `image`, `image_2` and so on by name.

    A prediction does without some of several columns that are named, but not without all.
    """
    mapped = data.columns.of(modality)
    if mapped or not data.find_columns:
        missing_is_fine = purpose == "predict" and any(column in names for column in mapped)
        return {
            input_name(modality, number): str(_find(names, modality, (), column, where))
            for number, column in enumerate(mapped, start=1)
            if column in names or not missing_is_fine
        }
    found = {
        input_name(modality, number): _find(names, modality, column_names(modality, number), None, where)
        for number in range(1, MAX_INPUTS + 1)
    }
    return {name: column for name, column in found.items() if column is not None}


def column_names(modality: Modality, number: int) -> tuple[str, ...]:
    """Names under which a manifest may give an input, in order of preference: `image_2`, `img_2`, `image_2_path`."""
    names = MODALITIES[modality].columns
    if number == 1:
        return names
    return tuple(f"{stem}_{number}{path}" for stem, path in map(_cut_path, names))


def _cut_path(name: str) -> tuple[str, str]:
    return (name.removesuffix("_path"), "_path") if name.endswith("_path") else (name, "")


def _find(names: tuple[str, ...], role: str, aliases: tuple[str, ...], mapped: str | None, where: str) -> str | None:
    if mapped is not None:
        if mapped in names:
            return mapped
        near = difflib.get_close_matches(mapped, names, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"its columns are {', '.join(names)}"
        raise UsageError(f"data.columns.{role}={mapped!r}: manifest {where} has no such column; {hint}")
    for alias in aliases:
        found = [name for name in names if name.strip().lower() == alias]
        if len(found) > 1 and role not in _OPTIONAL:
            raise DataError(
                f"manifest {where}: columns {' and '.join(map(repr, found))} are both {role} by their names; --set "
                f"data.columns.{role}={found[0]} says which is meant"
            )
        if found:
            return alias if alias in found else found[0]
    return None
