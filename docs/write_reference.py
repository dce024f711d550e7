"""Writes docs/reference/: every command of the program and every key of its config, as the program itself knows them.

`make docs` calls it; tests/docs/test_reference.py fails where the committed pages are not what it writes.
"""

from __future__ import annotations

import ast
import inspect
import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeGuard, get_args

from pydantic.fields import FieldInfo
from typer.main import get_command

from flows.cli import make_app
from tasks.config import RunConfig
from tasks.config_sections import Section

FOLDER = Path(__file__).with_name("reference")
_NOTE = "<!-- Written by docs/write_reference.py (make docs): change the program instead. -->"
_LIMITS = {
    "minimum": "≥",
    "exclusiveMinimum": ">",
    "maximum": "≤",
    "exclusiveMaximum": "<",
    "maxLength": "characters ≤",
}


def cli_reference() -> str:
    """Every command with its arguments and options, as Markdown."""
    lines = [
        _NOTE,
        "# Commands",
        "",
        "Each also takes `--help`. Exit statuses: [README](../../README.md#what-it-promises).",
        "",
    ]
    for path, command in _commands(get_command(make_app()), ("crossmodal",)):
        lines += [
            f"## {' '.join(path)}",
            "",
            _prose(command.help or ""),
            "",
            f"    {' '.join([*path, *_usage(command)])}",
            "",
        ]
        rows = [_parameter(parameter) for parameter in command.params if _is_shown(parameter)]
        if rows:
            lines += ["| argument or option | default | meaning |", "|---|---|---|", *rows, ""]
    return "\n".join(lines).rstrip() + "\n"


def config_reference() -> str:
    """Every key of RunConfig with its type, default, unit and meaning, as Markdown."""
    text = "Each is a key of a profile's TOML, and of `--set KEY=VALUE`, whose value is JSON or plain text."
    return "\n".join([_NOTE, "# Settings", "", text, "", *_section(RunConfig, "")]).rstrip() + "\n"


PAGES = {"cli.md": cli_reference, "config.md": config_reference}


def _commands(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    inner = getattr(command, "commands", {})
    if not inner or command.invoke_without_command:
        yield path, command
    for name, one in inner.items():
        if not one.hidden:
            yield from _commands(one, (*path, name))


def _is_shown(parameter: Any) -> bool:
    return not getattr(parameter, "hidden", False) and parameter.name not in ("help", "show_completion")


def _usage(command: Any) -> list[str]:
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    options = ["[OPTIONS]"] if any(one.param_type_name == "option" for one in command.params) else []
    named = [_value(one) if one.required else f"[{_value(one)}]" for one in arguments]
    return [*options, *named, *(["COMMAND"] if getattr(command, "commands", None) else [])]


def _value(parameter: Any) -> str:
    """What a user types in the place of a value; empty for a flag."""
    if parameter.metavar:
        return str(parameter.metavar)
    if parameter.param_type_name == "argument":
        return str(parameter.name.upper())
    if parameter.is_flag:
        return ""
    annotation = parameter.type_descriptor.annotation
    return {int: "INTEGER", float: "NUMBER", Path: "PATH"}.get(annotation, "TEXT")


def _parameter(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        name = f"`{_value(parameter)}`"
    else:
        names = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
        name = f"{names} {_cell(_value(parameter))}".strip()
    default = parameter.default
    shown = (
        "required"
        if parameter.required
        else ""
        if default in (None, False, "", [], ()) or callable(default)
        else f"`{default}`"
    )
    return f"| {name} | {_cell(shown)} | {_cell(getattr(parameter, 'help', None) or '')} |"


def _section(model: type[Section], prefix: str) -> Iterator[str]:
    known = model.model_json_schema()
    properties, shared, meanings = known["properties"], known.get("$defs", {}), _meanings(model)
    inner: list[tuple[str, type[Section]]] = []
    listed: list[tuple[str, type[Section]]] = []
    yield from [f"## {prefix.rstrip('.') or 'The run'}", "", _prose(model.__doc__ or ""), ""]
    yield from ["| key | type | default | meaning |", "|---|---|---|---|"]
    for name, field in model.model_fields.items():
        if _is_section(field.annotation):
            inner.append((f"{prefix}{name}.", field.annotation))
            continue
        listed += [(f"{prefix}{name}", one) for one in get_args(field.annotation) if _is_section(one)]
        kind = _cell(_type(properties[name], shared))
        yield f"| `{prefix}{name}` | {kind} | {_cell(f'`{_default(field)}`')} | {_cell(meanings.get(name, ''))} |"
    yield ""
    for dotted, section in listed:
        yield from _entries(section, dotted)
    for dotted, section in inner:
        yield from _section(section, dotted)


def _meanings(model: type[Section]) -> dict[str, str]:
    """Key to what is written below it; pydantic would look for that at each start of the program (use_attribute_docstrings)."""
    found = {name: field.description or "" for name, field in model.model_fields.items()}
    for one in (each for each in reversed(model.__mro__) if issubclass(each, Section)):
        try:
            (tree,) = ast.parse(inspect.getsource(one)).body
        except (OSError, TypeError):  # made of a table, whose fields have a description each
            continue
        assert isinstance(tree, ast.ClassDef)
        for field, text in itertools.pairwise(tree.body):
            if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
                assert isinstance(field.target, ast.Name)
                found[field.target.id] = inspect.cleandoc(str(text.value.value))
    return found


def _entries(model: type[Section], key: str) -> Iterator[str]:
    """The keys of a table that stands in a list."""
    known, meanings = model.model_json_schema(), _meanings(model)
    yield from [f"Each entry of `{key}`:", ""]
    for name, field in model.model_fields.items():
        kind = _type(known["properties"][name], known.get("$defs", {})).replace("\\|", "|")
        default = "required" if field.is_required() else f"default `{_default(field)}`"
        yield f"- `{name}`: {' '.join(meanings.get(name, '').split())} ({kind}; {default})"
    yield ""


def _is_section(annotation: Any) -> TypeGuard[type[Section]]:
    return isinstance(annotation, type) and issubclass(annotation, Section)


def _default(field: FieldInfo) -> str:
    return json.dumps(_plain(field.get_default(call_default_factory=True)), ensure_ascii=False)


def _plain(value: Any) -> Any:
    """A default as JSON has it; of a section in a list, what differs from its own defaults."""
    if isinstance(value, Section):
        return value.model_dump(mode="json", exclude_defaults=True)
    return [_plain(one) for one in value] if isinstance(value, tuple | list) else value


def _type(schema: dict[str, Any], shared: dict[str, Any]) -> str:
    """A JSON schema in a few words, limits included."""
    if "$ref" in schema:
        named = shared[schema["$ref"].rpartition("/")[2]]
        fields = ", ".join(f"`{name}`" for name in named.get("properties", {}))
        return f"table of {fields}" if fields else _type(named, shared)
    if several := schema.get("anyOf") or schema.get("oneOf"):
        return " or ".join(dict.fromkeys(_type(one, shared) for one in several))
    if "enum" in schema or "const" in schema:
        return " \\| ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array":
        items: dict[str, Any] = schema.get("items") or next(iter(schema.get("prefixItems", [])), {})
        return f"list of {_type(items, shared)}" if items else "list"
    if schema.get("type") == "object":
        values = schema.get("additionalProperties")
        return f"table of {_type(values, shared)}" if isinstance(values, dict) else "table"
    limits = [f"{sign} {schema[name]:g}" for name, sign in _LIMITS.items() if name in schema]
    kind = {"null": "null", "string": "text", "number": "number", "integer": "integer", "boolean": "true or false"}
    return ", ".join([kind.get(schema.get("type", ""), "any"), *limits])


def _prose(text: str) -> str:
    """A docstring as one paragraph each."""
    return "\n\n".join(" ".join(part.split()).replace("<", "&lt;") for part in re.split(r"\n\s*\n", text.strip()))


def _cell(text: str) -> str:
    """A text as a cell of a table."""
    return re.sub(r"(?<!\\)\|", r"\\|", " ".join(text.split())).replace("<", "&lt;")


def main() -> None:
    """The pages hold what the program says of itself now."""
    FOLDER.mkdir(exist_ok=True)
    for name, write in PAGES.items():
        (FOLDER / name).write_text(write(), encoding="utf-8")


if __name__ == "__main__":
    main()
