"""The files of runs as a browser gets them: read-only, nothing outside `runs/`, and nothing in them can act.

A report shows rows of data that may be hostile. It is served in a sandbox without scripts, forms or anything from elsewhere;
it keeps its origin, since a page of an opaque one could load neither its pictures nor the Data Docs beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

SANDBOX = (
    "sandbox allow-same-origin allow-downloads; default-src 'none'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; media-src 'self' data:; font-src 'self' data:; frame-ancestors 'none'; "
    "base-uri 'none'; form-action 'none'"
)
# What a browser shows; everything else is a download. Tables and logs are shown as text.
_KINDS = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".svg": "image/svg+xml",
} | dict.fromkeys((".csv", ".txt", ".md", ".log", ".toml"), "text/plain; charset=utf-8")
_FIRST = ("report.html", "summary.json")


@dataclass(frozen=True)
class RunFile:
    """A file to send."""

    path: Path
    content_type: str
    attachment: bool


def find_run_file(runs: Path, name: str) -> RunFile | None:
    """The file of this name below `runs`; None when there is none, or when the name leads elsewhere.

    Of a folder it is the `index.html` (Data Docs). No part of a name may be hidden, a step upwards or a symbolic link.
    """
    parts = name.rstrip("/").split("/")
    if any(not part or part.startswith(".") or "\\" in part or "\0" in part for part in parts):
        return None
    path = runs.joinpath(*parts)
    try:
        if path.is_dir():
            path = path / "index.html"
        if path.resolve(strict=True) != runs.resolve() / path.relative_to(runs) or not path.is_file():
            return None
    except OSError:
        return None
    kind = _KINDS.get(path.suffix.lower())
    return RunFile(path, kind or "application/octet-stream", kind is None)


def first_page(runs: Path, run: str) -> str | None:
    """The file that a run's own address leads to: its report, else its summary; None when there is neither."""
    return next((name for name in _FIRST if find_run_file(runs, f"{run}/{name}") is not None), None)
