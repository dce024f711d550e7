"""The journal of a store: who decided what on which evidence, one JSON line an entry, each with the digest of the line before.

It is only ever appended to, and an entry is on disk before the next step begins. A line that is changed or taken out breaks
the chain at the line after it; lines that are cut off at the end are missed through the registry, where a tag of every model
names the last entry on it. A broken journal stops no run: it is kept beside the new one, whose first entry says so.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import IO, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tasks import locks
from tasks.errors import EnvironmentFailed
from tasks.redaction import redact
from tasks.store import Store, canonical_json, digest_file, sync

JOURNAL = "journal.jsonl"
HEAD = "crossmodal.journal."
"""Tags of a registered model, one a journal: the last entry on it."""
Event = Literal["verdict", "publish", "promote", "rollback", "pending", "reject", "expire", "restart"]


class Entry(BaseModel):
    """One line of the journal."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int = 0
    """From 1; 0 until it is appended."""
    at: datetime
    """When it was written down, UTC."""
    by: str
    event: Event
    model: str
    version: str | None = None
    previous: str | None = None
    """The version that the alias pointed to before."""
    alias: str | None = None
    decision: str | None = None
    """A verdict's: promote, reject, …; of a promotion by hand the verdict that it overrides, needs-approval."""
    reason: str = ""
    run: str | None = None
    evidence: dict[str, str] = {}
    """What it rests on, by its digest: model, evaluation, data, verdict, champion."""
    test_rows: tuple[str, ...] = Field(default=(), exclude_if=lambda rows: not rows)
    """Of a verdict: a sample of the rows that decided it (tasks/holdout_reuse.py)."""
    test_uses: float | None = Field(default=None, exclude_if=lambda uses: uses is None)
    """Of a verdict: how many of this model these rows had decided before."""
    parent: str = ""
    """sha256 of the line before, without its line break; empty in the first."""


class Line(NamedTuple):
    """An entry as it is stored."""

    entry: Entry
    sha256: str


def read_journal(store: Store) -> list[Line]:
    """Every entry of the store, oldest first, the chain checked. EnvironmentFailed names the line where it breaks.

    What a killed process left of a last line, without its end, is no entry.
    """
    with contextlib.suppress(FileNotFoundError), (store.root / JOURNAL).open("rb") as file:
        return _read(file, store)
    return []


def append(store: Store, new: list[Entry]) -> list[Line]:
    """The entries are on disk after those of before, their numbers and parents set; the whole journal.

    One process at a time: others wait. A journal whose chain is broken is moved to journal-<digest>.jsonl, and a new one
    begins with an entry that says so. EnvironmentFailed where the disk fails: then nothing is added.
    """
    path = store.root / JOURNAL
    with locks.held(store.root / "work" / "journal.lock", store.lock_timeout_s, store.run):
        try:
            lines = read_journal(store)
        except EnvironmentFailed as broken:
            lines, new = [], [_restart(path, str(broken), new[0]), *new]
        try:
            with path.open("a+b") as file:
                return [*lines, *_write(file, path, lines, new)]
        except OSError as error:
            raise EnvironmentFailed(
                f"journal {path}: cannot be opened ({error.strerror}); run again as a user who may write to it"
            ) from None


def head_tag(lines: list[Line]) -> str:
    """The registry's tag for the last entry on a model; a registry may serve several stores, each with its journal."""
    return f"{HEAD}{lines[0].sha256[:12]}"


def require_complete(lines: list[Line], model: str, tags: Mapping[str, str], store: Store) -> list[str]:
    """What the registry knows of other journals on this model, by its tags.

    EnvironmentFailed unless the entry that it knows as the last of this journal, `number:sha256`, is there.
    """
    ours = head_tag(lines) if lines else ""
    number, _, sha256 = tags.get(ours, "").partition(":")
    if sha256 and not any(line.sha256 == sha256 for line in lines):
        raise EnvironmentFailed(
            f"journal {store.root / JOURNAL}: {len(lines)} entries, and the registry knows entry {number} on model {model} "
            f"({sha256[:12]}…), which is not among them: it was cut off, or changed; restore the journal from a backup"
        )
    others = {tag: head for tag, head in tags.items() if tag.startswith(HEAD) and tag != ours}
    return [
        f"the registry knows {head.partition(':')[0]} entries of another journal, {tag.removeprefix(HEAD)}: another store's, "
        "or one that was replaced"
        for tag, head in sorted(others.items())
    ]


def _restart(path: Path, problem: str, cause: Entry) -> Entry:
    """The broken journal is moved aside; the entry that says so."""
    sha256 = digest_file(path)
    kept = path.with_name(f"journal-{sha256[:12]}.jsonl")
    path.rename(kept)
    reason = f"the journal before this one is kept as {kept.name}: {problem}"
    return Entry(at=cause.at, by=cause.by, event="restart", model="", reason=reason, evidence={"journal": sha256})


def _write(file: IO[bytes], path: Path, lines: list[Line], new: list[Entry]) -> list[Line]:
    end = sum(len(_bytes(line.entry)) for line in lines)
    added = list(_chained(new, lines[-1] if lines else None))
    try:
        os.ftruncate(file.fileno(), end)  # what a killed process left of a line
        file.write(b"".join(_bytes(line.entry) for line in added))
        file.flush()
        os.fsync(file.fileno())
        if not lines:
            sync(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.ftruncate(file.fileno(), end)
        raise EnvironmentFailed(
            f"journal {path}: cannot be written ({error.strerror}); free space, and run again"
        ) from None
    return added


def _read(file: IO[bytes], store: Store) -> list[Line]:
    file.seek(0)
    found: list[Line] = []
    for number, raw in enumerate(file, start=1):
        if not raw.endswith(b"\n"):
            break
        problem = None
        try:
            entry = Entry.model_validate_json(raw)
        except ValidationError:
            problem = "is not an entry"
        else:
            parent = found[-1].sha256 if found else ""
            if (entry.number, entry.parent) != (number, parent) or _bytes(entry) != raw:
                problem = "does not follow from the line before it: one of the two was changed after it was written"
        if problem:
            where = f"journal {store.root / JOURNAL}: line {number}"
            raise EnvironmentFailed(f"{where} {problem}; restore the journal from a backup")
        found.append(Line(entry, _digest(raw)))
    return found


def _chained(new: list[Entry], last: Line | None) -> Iterator[Line]:
    for entry in new:
        number, parent = (last.entry.number + 1, last.sha256) if last else (1, "")
        said = {"by": redact(entry.by), "reason": redact(entry.reason)}
        numbered = entry.model_copy(update={"number": number, "parent": parent, **said})
        last = Line(numbered, _digest(_bytes(numbered)))
        yield last


def _bytes(entry: Entry) -> bytes:
    return canonical_json(entry.model_dump(mode="json")).encode() + b"\n"


def _digest(line: bytes) -> str:
    return hashlib.sha256(line.rstrip(b"\n")).hexdigest()
