"""A shard of WebDataset's: the files of a tar archive whose names differ after the first dot only are one sample.

Read in the process of isolated_worker.py, one member after the other; no member is ever written, and its name opens nothing.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from tasks.ingest.sources.isolated_messages import Send
from tasks.ingest.sources.parquet_worker import BATCH_ROWS, plain_cell
from tasks.modalities import MODALITIES

_KEY, _LABEL = "key", "label"
_SIGN_OF_LIFE = 1_000
"""After so many samples the parent hears of it, so that it keeps waiting."""
_TEXTS = {"txt", "text", "caption", "transcript"}
_MEDIA = {suffix.lstrip("."): spec.name for spec in MODALITIES.values() for suffix in spec.suffixes if suffix != ".txt"}


@dataclass
class _Sample:
    """Members with one key."""

    key: str
    members: dict[str, tarfile.TarInfo] = field(default_factory=dict)
    """Ending, all after the first dot in lower case, to the member."""
    twice: str | None = None
    """An ending that came twice."""


@dataclass(frozen=True)
class _Column:
    """What the members of an ending are read as."""

    name: str
    kind: str
    """media, text, label or json."""


@lru_cache(1_024)
def _column_of(ending: str) -> _Column | None:
    """`image` of jpg, `seg` of seg.jpg; None for what is not read: arrays, pickles, anything unknown."""
    inner, _, last = ending.rpartition(".")
    if last in _MEDIA:
        return _Column(inner or _MEDIA[last], "media")
    if last in _TEXTS:
        return _Column(inner or "text", "text")
    if last == "cls":
        return _Column(inner or _LABEL, "label")
    return _Column(inner, "json") if last == "json" else None


class Shard:
    """A tar archive whose members are grouped by key."""

    def __init__(self, path: str, member_bytes: float) -> None:
        self._path, self._member_bytes = path, member_bytes
        self._columns: dict[str, bool] = {_KEY: False}
        """Name to whether it holds media."""
        self._sources: dict[str, str] = {}
        """Ending to the column that it fills."""
        self._left_out: set[str] = set()
        self._notes: list[str] = []

    def send_rows(self, send: Send) -> None:
        """Sends the columns, then a row a sample; a medium is its digest. Raises OSError for what is no such archive."""
        rows = self._survey(send)
        names = list(self._columns)
        inline = list(self._columns.values())
        send({"columns": names, "inline": inline, "rows": rows, "classes": {}, "notes": self._notes}, b"")
        batch: list[list[Any] | str] = []
        with self._archive() as archive:
            for sample in _samples(archive, set()):
                batch.append(self._row(archive, sample, names))
                if len(batch) == BATCH_ROWS:
                    send({"batch": batch}, b"")
                    batch = []
        send({"batch": batch}, b"")

    def send_media(self, column: str, rows: set[int], send: Send) -> None:
        """Sends the bytes of the wanted 1-based samples in one column."""
        with self._archive() as archive:
            for number, sample in enumerate(_samples(archive, set()), start=1):
                if number in rows:
                    found = [e for e in sample.members if _column_of(e) == _Column(column, "media")]
                    data = self._read(archive, sample.members[found[0]]) if found else b""
                    send({"numbers": [number], "sizes": [len(data)]}, data)

    @contextmanager
    def _archive(self) -> Iterator[tarfile.TarFile]:
        """The archive, open. Raises OSError where it is damaged, while it is read."""
        try:
            with Path(self._path).open("rb") as file, tarfile.open(fileobj=file, mode="r:") as archive:
                yield archive
                file.seek(archive.offset)
                rest = file.read(tarfile.BLOCKSIZE)
                if rest.strip(b"\0"):
                    raise OSError(f"damaged at byte {archive.offset}: no member begins there")
                if not rest:
                    self._notes.append(f"{Path(self._path).name} ends without an end mark; was it cut off?")
        except tarfile.TarError as error:
            raise OSError(f"{type(error).__name__}: {error}") from None

    def _survey(self, send: Send) -> int:
        """The number of samples; notes their columns, and what is not read. Says from time to time that it is at it."""
        keys: set[str] = set()
        with self._archive() as archive:
            for sample in _samples(archive, self._left_out):
                if sample.key in keys:
                    raise OSError(
                        f"files of {sample.key[:80]!r} stand apart; those of one sample must follow each other: pack it by "
                        "webdataset, or tar --sort=name"
                    )
                keys.add(sample.key)
                if len(keys) % _SIGN_OF_LIFE == 0:
                    send({"samples": len(keys)}, b"")
                for ending, member in sample.members.items():
                    self._survey_member(archive, ending, member)
        notes = [f"{name} from .{ending}" for ending, name in self._sources.items()]
        self._notes.append(f"shards of WebDataset's: {', '.join(notes)}, {_KEY} from the names")
        if self._left_out:
            self._notes.append(f"members of shards that are not read: {', '.join(sorted(self._left_out))}")
        return len(keys)

    def _survey_member(self, archive: tarfile.TarFile, ending: str, member: tarfile.TarInfo) -> None:
        column = _column_of(ending)
        if column is None:
            self._left_out.add(f".{ending}")
            return
        self._sources[ending] = column.name or "columns"
        if column.kind == "json":
            with suppress(ValueError, RecursionError):  # it will cost its sample
                self._columns = dict.fromkeys(self._values(archive, column, member), False) | self._columns
        elif self._columns.setdefault(column.name, column.kind == "media") != (column.kind == "media"):
            raise OSError(
                f"column {column.name!r} would hold media and texts, .{ending} among them; rename its members"
            )

    def _row(self, archive: tarfile.TarFile, sample: _Sample, names: list[str]) -> list[Any] | str:
        """The cells, or why there are none."""
        cells: dict[str, object] = {}
        if sample.twice is not None:
            return f"sample {sample.key[:80]!r} has two files .{sample.twice}"
        for ending, member in sorted(sample.members.items(), key=lambda item: item[0].endswith("json")):
            column = _column_of(ending)
            if column is None:
                continue
            if member.size > self._member_bytes:
                return f"{member.name[:80]!r} has {member.size} bytes; the limit is media.max_file_mb"
            try:
                found = self._values(archive, column, member)
            except (ValueError, RecursionError) as error:
                return f"{member.name[:80]!r}: {type(error).__name__}: {' '.join(str(error).split())[:200]}"
            if column.kind != "json" and column.name in cells:
                return f"sample {sample.key[:80]!r} has two files for {column.name!r}, .{ending} is one"
            cells = found | cells  # what a file of its own says outweighs the JSON
        cells[_KEY] = sample.key
        return [cells.get(name) for name in names]

    def _values(self, archive: tarfile.TarFile, column: _Column, member: tarfile.TarInfo) -> dict[str, object]:
        """Column to cell. Raises ValueError for what is no text or JSON."""
        data = self._read(archive, member)
        if column.kind == "media":
            return {column.name: hashlib.sha256(data).hexdigest() if data else ""}
        if column.kind != "json":
            text = data.decode("utf-8-sig")
            return {column.name: text.strip() if column.kind == "label" else text}
        found = json.loads(data)
        if not isinstance(found, dict):
            raise ValueError("a JSON object is expected")
        prefix = f"{column.name}." if column.name else ""
        return {f"{prefix}{name}": plain_cell(value) for name, value in found.items() if f"{prefix}{name}" != _KEY}

    def _read(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
        file = archive.extractfile(member) if member.size <= self._member_bytes else None
        return file.read() if file is not None else b""


def _samples(archive: tarfile.TarFile, left_out: set[str]) -> Iterator[_Sample]:
    """The members that follow each other under one key; those that belong to none are `left_out`."""
    current: _Sample | None = None
    while (member := archive.next()) is not None:
        archive.members = []  # type: ignore[attr-defined]  # else every header stays in memory
        folder, _, name = member.name.removeprefix("./").rpartition("/")
        stem, dot, ending = name.partition(".")
        if member.isdir():
            continue
        if not member.isreg() or member.issparse():
            left_out.add("links, devices and files with holes")
        elif not stem or not dot or not ending or stem.startswith("__") or "__MACOSX" in folder:
            left_out.add("files without a key or an ending")
        else:
            key, ending = f"{folder}/{stem}" if folder else stem, ending.lower()
            if current is None or current.key != key:
                if current is not None:
                    yield current
                current = _Sample(key)
            current.twice = ending if ending in current.members else current.twice
            current.members[ending] = member
    if current is not None:
        yield current
