"""Digests of code: what a stage's results depend on besides its inputs and its config.

A stage names the modules that compute its results. Each enters as a digest of its syntax tree without what is said to people
(docstrings, annotations, the texts of errors, progress and log lines), so that other words retrain nothing and another
constant does.
What no list can see is in `StageCode.version`, which is raised by hand. Two tests keep this honest: every module of
ours that a stage imports is on its list or among those that compute nothing (tests/foundations/test_stage_code.py),
and the figures of a small fixed input, kept by stage and version, are what they were (tests/support/golden.py).
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import functools
import hashlib
import importlib.metadata
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from tasks.stage_code import STAGES
from tasks.store import canonical_json, digest_json, replace_file
from tasks.unkeyed_code import COMPUTES_NOTHING

_ROOT = Path(__file__).resolve().parents[1]
_SPEAKING = ("tasks.errors", "tasks.progress", "tasks.run_log")
_ERRORS = {name for name, value in vars(builtins).items() if isinstance(value, type) and issubclass(value, Exception)}


@functools.cache
def code_fingerprint(*stages: str, modules: tuple[str, ...] = (), libraries: tuple[str, ...] = ()) -> str:
    """The digest of these stages' versions, modules and libraries, and of further modules and libraries' versions."""
    used = [STAGES[stage] for stage in stages]
    found = {found for stage in used for found in find_modules(stage.modules, stage.unused)} | set(
        find_modules(modules)
    )
    sources = {name: _kept.of(path.read_text(encoding="utf-8")) for name, path in sorted(found)}
    _kept.write()
    needed = {*libraries, *(library for stage in used for library in stage.libraries)}
    return digest_json(
        {
            "versions": {stage: STAGES[stage].version for stage in stages},
            "sources": sources,
            "libraries": {name: importlib.metadata.version(name) for name in sorted(needed)},
        }
    )


def find_modules(names: Iterable[str], unused: Sequence[str] = ()) -> Iterator[tuple[str, Path]]:
    """The files of modules; `package.*` are all of a package that compute and are used. Nothing is imported."""
    for name in names:
        package = name.removesuffix(".*")
        place = _ROOT.joinpath(*package.split("."))
        if package == name:
            yield name, place.with_suffix(".py") if place.with_suffix(".py").is_file() else place / "__init__.py"
            continue
        for path in place.rglob("*.py"):
            inner = ".".join(path.relative_to(_ROOT).with_suffix("").parts).removesuffix(".__init__")
            if inner not in (*COMPUTES_NOTHING, *unused) and path.name != "task.py":  # which only wraps
                yield inner, path


class _Kept:
    """Digests of source texts: parsing all modules of a retrain takes about a second, and most are as they were."""

    def __init__(self) -> None:
        self.place: Path | None = None
        self.digests: dict[str, str] = {}
        self.is_new = False

    def of(self, source: str) -> str:
        """The digest of a module's code."""
        text = hashlib.sha256(source.encode()).hexdigest()
        if text not in self.digests:
            tree = ast.parse(source)
            self.digests[text] = hashlib.sha256(ast.dump(_Silenced(tree).visit(tree)).encode()).hexdigest()
            self.is_new = True
        return self.digests[text]

    def write(self) -> None:
        """What was not there before is kept; where that fails, it is computed again."""
        if self.is_new and self.place is not None:
            with contextlib.suppress(OSError):
                self.place.parent.mkdir(parents=True, exist_ok=True)
                replace_file(self.place, canonical_json(dict(self.digests)).encode())
            self.is_new = False


_kept = _Kept()


def keep_digests(root: Path) -> None:
    """Digests of source texts are taken from this store, and kept in it. Another Python, or other rules, have others."""
    rules = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:16]
    _kept.place = root / "work" / f"code-{'.'.join(map(str, sys.version_info[:3]))}-{rules}.json"
    with contextlib.suppress(OSError, ValueError, TypeError):
        found = json.loads(_kept.place.read_text(encoding="utf-8"))
        _kept.digests |= {str(text): str(code) for text, code in dict(found).items()}


class _Silenced(ast.NodeTransformer):
    """Takes out of a module what it says to people and to type checkers: arguments of what tasks/errors.py and such hold."""

    def __init__(self, tree: ast.Module) -> None:
        self._speaking = {
            alias.asname or alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
            if node.module in _SPEAKING or f"{node.module}.{alias.name}" in _SPEAKING
        }

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        """No docstring, and no line for the log or the bar."""
        spoken = isinstance(node.value, ast.Call) and _root(node.value.func) in self._speaking
        return None if spoken or isinstance(node.value, ast.Constant) else self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """An error or a note is made, whatever it says."""
        return node.func if _root(node.func) in self._speaking | _ERRORS else self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        """What it returns, whatever is said of its type."""
        node.returns = None
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        """A parameter, whatever is said of its type."""
        node.annotation = None
        return node


def _root(function: ast.expr) -> str | None:
    while isinstance(function, ast.Attribute):
        function = function.value
    return function.id if isinstance(function, ast.Name) else None
