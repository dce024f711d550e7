"""Profile files of a user's own: written from what `check` recognised in the data, and shown with what they resolve to."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

from pydantic import JsonValue

from data_contracts.recognition import Recognised, Recognition
from data_contracts.run_summary import RunSummary
from flows.prepare import check_manifest
from flows.request import Request, profile_files, resolve_config
from flows.run_state import RunState
from tasks.config import RunConfig, load_config, parse_assignment, read_profile
from tasks.errors import UsageError
from tasks.escaping import one_line
from tasks.publish.model_names import check_model_name
from tasks.redaction import holds_credential
from tasks.samples import Samples

_SHOWN = 20
"""Labels that a comment names; of more only the number is given."""
_LOOKED_AT = {
    "train": {
        "epochs": "at most so many; fewer where validation stops improving",
        "horizontal_flip": "mirror pictures: right for photographs, wrong for digits and letters",
        "class_balance": "class-weights or sampler, against rare classes",
    },
    "gate": {"margin": "what a new model may lose against the one in production"},
}
"""Settings that people change first, written as comments."""


class Listed(TypedDict):
    """One profile in a list."""

    profile: str
    data: str
    file: str


def list_profiles(store: str) -> list[Listed]:
    """Every profile with its data; one whose file is wrong says so instead."""
    found = []
    for name, path in profile_files(store).items():
        try:
            data = resolve_config(name, None, [], store).data.path
        except UsageError as error:
            data = one_line(str(error), 120)
        found.append(Listed(profile=name, data=data, file=str(path)))
    return found


def describe_settings(config: RunConfig) -> dict[str, JsonValue]:
    """Every dotted key of a config with its value, as JSON."""
    return dict(_flat(config.model_dump(mode="json")))


def changed_keys(path: Path) -> set[str]:
    """The dotted keys that a profile file sets."""
    return {key for key, _ in _flat(read_profile(path))}


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    lines: list[tuple[str, Any]] = []
    for key, value in values.items():
        lines += _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else [(f"{prefix}{key}", value)]
    return lines


def check_target(name: str, target: Path, option: str = "--out") -> None:
    """Raises UsageError where the name is none, or the file is there already: a profile is never overwritten."""
    check_model_name(name)
    if target.suffix != ".toml":
        raise UsageError(f"{option} {str(target)!r}: a profile is a TOML file; use a name that ends in .toml")
    if target.exists():
        raise UsageError(
            f"profile {name!r}: {target} is there already and is not overwritten; edit it, or use another name"
        )


def write_profile(name: str, target: Path, request: Request, overrides: Sequence[str]) -> Path:
    """The profile is at `target`, with what its data were found to be in comments. Raises RunFailed where they are broken."""
    found = RunState()
    summary, notes = check_manifest(request, found)
    keys = [parse_assignment(text)[0] for text in overrides]
    _create(name, target, profile_text(name, request.config, keys, [*_counted(found, request, summary), *notes]))
    return target


def write_reading_profile(target: Path, request: Request, recognition: Recognition) -> None:
    """The profile at `target` has all that the request sets, and what was recognised in its data as settings."""
    name = target.stem
    chosen = [f"{key}={json.dumps(value)}" for key, value in recognition.settings.items()]
    config = load_config(request.config.model_dump(mode="json"), chosen, "the settings of this check")
    usual = describe_settings(RunConfig())
    keys = [key.split(".") for key, value in describe_settings(config).items() if usual.get(key) != value]
    _create(name, target, profile_text(name, config, keys, [_comment(line) for line in recognition.found]))


def _comment(line: Recognised) -> str:
    column = "" if line.column is None else f" from column {line.column!r}"
    return f"{line.role}{column}: {line.how}{'' if line.example is None else f' ({line.example})'}"


def _create(name: str, target: Path, text: str) -> None:
    """A new file holds the text. UsageError where there is one already."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with target.open("x", encoding="utf-8") as file:
            if holds_credential(text):  # it is used as it stands
                target.chmod(0o600)
            file.write(text)
    except FileExistsError:
        check_target(name, target)


def profile_text(name: str, config: RunConfig, keys: Sequence[Sequence[str]], comments: Sequence[str]) -> str:
    """The TOML of a profile: its data, the settings under these keys, and comments on both."""
    values: dict[str, Any] = {"data": {"path": config.data.path}}
    for path in keys:
        _put(values, path, _value_of(config, path))
    values.pop("name", None)
    lines = [
        f"# {name}: only what differs from the defaults; crossmodal profile show {name} lists every setting.",
        *(f"# {one_line(comment, 300)}" for comment in comments),
        "",
        f"name = {toml_value(name)}",
        *(f"{key} = {toml_value(value)}" for key, value in values.items() if not isinstance(value, dict)),
    ]
    defaults = config.model_dump(mode="json")
    for section in dict.fromkeys([*(key for key, value in values.items() if isinstance(value, dict)), *_LOOKED_AT]):
        own, hints = values.get(section, {}), _LOOKED_AT.get(section, {})
        lines += ["", f"[{section}]", *(f"{key} = {toml_value(value)}" for key, value in _flat(own))]
        shown = {key: why for key, why in hints.items() if key not in own}
        lines += [f"# {key} = {toml_value(defaults[section][key])}  # {why}" for key, why in shown.items()]
    return "\n".join(lines) + "\n"


def toml_value(value: Any) -> str:
    """A JSON value in TOML; UsageError for null, which TOML does not have. In a table a key without a value is left out."""
    if value is None:
        raise UsageError("a profile holds no null: leave the setting out, and it has its default")
    if isinstance(value, dict):
        known = {key: item for key, item in value.items() if item is not None}
        return "{" + ", ".join(f"{json.dumps(key)} = {toml_value(item)}" for key, item in known.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml_value, value)) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _value_of(config: RunConfig, keys: Sequence[str]) -> Any:
    value: Any = config.model_dump(mode="json")
    for key in keys:
        value = value[key]
    return value


def _put(values: dict[str, Any], keys: Sequence[str], value: Any) -> None:
    for key in keys[:-1]:
        values = values.setdefault(key, {})
    values[keys[-1]] = value


def _counted(found: RunState, request: Request, summary: RunSummary) -> list[str]:
    """What was recognised: rows, splits, inputs, labels with their numbers of rows."""
    rows, splits, clean = summary.rows, summary.splits, found.clean
    comments = [
        f"Rows: {rows.rows_in} read, {rows.used} used, {rows.quarantined} quarantined, {rows.duplicates} duplicates.",
        f"Splits: {', '.join(f'{split} {count}' for split, count in splits.items())}.",
    ]
    if clean is None or found.valid is None:
        return comments
    columns = clean.columns
    comments.append(
        f"Inputs: {', '.join(f'{one} (column {columns[one]!r})' if one in columns else one for one in clean.modalities)}."
    )
    samples = Samples.read(request.store.path(found.valid.uri))
    cells = Counter(samples.labels)
    for place, target in enumerate(clean.label_targets):
        rows_of = cells if place == 0 else Counter[str]()
        comments.append(f"Label column {target.name!r}, {target.problem}{_labels(target.labels, rows_of)}.")
    return comments


def _labels(labels: Sequence[str], rows_of: Mapping[str, int]) -> str:
    if not labels or len(labels) > _SHOWN:
        return f", {len(labels)} labels" if labels else ""
    return ": " + ", ".join(f"{label} {rows_of[label]}" if label in rows_of else label for label in labels)
