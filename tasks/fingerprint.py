"""Digests of code: what a stage's results depend on besides its inputs and its config.

A stage's fingerprint covers its own modules and, through their imports, every module of ours that they use, each as its
syntax tree without docstrings: a comment or a line break changes nothing, a changed constant does. The versions of the
libraries that shape the numbers are part of it.
"""

from __future__ import annotations

import ast
import functools
import importlib.metadata
from collections.abc import Iterator
from pathlib import Path

from tasks.store import digest_json

OURS = ("tasks", "data_contracts")
_ROOT = Path(__file__).resolve().parents[1]
# Their effect on a result enters the key in another way: config by value, errors, refs and logs by not touching content.
LEFT_OUT = frozenset(
    {
        "tasks",
        "tasks.config",
        "tasks.config_sections",
        "tasks.config_training",
        "tasks.errors",
        "tasks.store",
        "tasks.fingerprint",
        "tasks.modalities",  # each stage names the modules of the modalities that it asks
        "tasks.progress",
        "tasks.run_log",
        "data_contracts",
        "data_contracts.refs",
    }
)


@functools.cache
def code_fingerprint(*modules: str, libraries: tuple[str, ...] = ()) -> str:
    """The digest of the named modules, of ours that they import, and of the libraries' versions."""
    sources = {name: _tree(path) for name, path in sorted(_closure(modules).items())}
    versions = {name: importlib.metadata.version(name) for name in sorted(libraries)}
    return digest_json({"sources": sources, "versions": versions})


def _closure(modules: tuple[str, ...]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name in found or name in LEFT_OUT:
            continue
        path = _source(name)
        if path is not None:
            found[name] = path
            waiting.extend(_imports(path))
    return found


def _source(name: str) -> Path | None:
    """The file of one of our modules; None where the name is an attribute, not a module. Nothing is imported to find it."""
    place = _ROOT.joinpath(*name.split("."))
    return next((path for path in (place.with_suffix(".py"), place / "__init__.py") if path.is_file()), None)


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        yield from (name for name in names if name.split(".")[0] in OURS)


def _tree(path: Path) -> str:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and _is_docstring(body[0]):
            node.body = body[1:]  # type: ignore[attr-defined]
    return ast.dump(tree)


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
