"""Whether a store is as it was written: records, files, parts, and the chain from each artifact to what it was made from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tasks.retention.inventory import Item, is_artifact, list_items
from tasks.store import Found, digest_file, read_record

RECOMPUTED = "nothing is lost: the next run that needs it sets it aside and computes it again; check the disk"
SHARED = (
    "it has further names, and is damaged under each: where a version of the registry is named below, put that back from a "
    "backup or roll back; else the next run that needs it computes it again; check the disk"
)
FETCHED = "nothing is lost: it is fetched again from the registry when it is needed; check the disk"


@dataclass(frozen=True)
class Finding:
    """Something in the store that is not as it was written."""

    uri: str
    """Store path, or what else it is about."""
    problem: str
    to_do: str


@dataclass
class Checked:
    """How much was looked at."""

    artifacts: int = 0
    parts: int = 0
    files: int = 0
    bytes: int = 0


def verify_items(root: Path, deep: bool, checked: Checked) -> Iterator[Finding]:
    """What is wrong with artifacts and parts, adding to `checked` as it goes; `deep` reads every byte."""
    for item in list_items(root):
        found = _artifact(root, item, deep, checked) if is_artifact(item) else _parts(root, item, deep, checked)
        yield from found


def _artifact(root: Path, item: Item, deep: bool, checked: Checked) -> Iterator[Finding]:
    checked.artifacts += 1
    to_do = FETCHED if item.kind in ("champions", "encoders") else RECOMPUTED
    record = read_record(root, item.uri)
    if record is None:
        if (root / item.uri).exists():  # else: collected since it was listed
            yield Finding(item.uri, "its record is gone or is not as it was written", to_do)
        return
    for problem, shared in _files(record, deep, checked):
        yield Finding(item.uri, problem, SHARED if shared else to_do)
    for problem in (*_contradictions(record), *_links(root, record)):
        yield Finding(item.uri, problem, to_do)


def _files(record: Found, deep: bool, checked: Checked) -> Iterator[tuple[str, bool]]:
    """What is wrong with each file, and whether the same bytes lie under other names, too."""
    for name, sha256 in record.files.items():
        checked.files += 1
        path = record.path / name
        if not path.is_file():
            yield f"{name} is gone", False
        elif deep:
            state = path.stat()
            checked.bytes += state.st_size
            if digest_file(path) != sha256:
                yield f"{name} is damaged (its sha256 is not the recorded {sha256[:12]}...)", state.st_nlink > 1


def _contradictions(record: Found) -> Iterator[str]:
    """What a record says of itself in two ways."""
    ref = record.ref
    weights = record.files.get("model.safetensors")
    if weights is not None and ref.get("model_sha256", weights) != weights:
        yield "its ref names another model.safetensors than it holds"
    if ref.get("uri", record.uri) != record.uri:
        yield f"its ref is of {ref['uri']}"


def _links(root: Path, record: Found) -> Iterator[str]:
    for uri, link in record.parents.items():
        parent = read_record(root, uri)
        if parent is not None and parent.link != link:
            yield f"it was made from another {uri} than lies there"


def _parts(root: Path, item: Item, deep: bool, checked: Checked) -> Iterator[Finding]:
    for path in sorted((root / item.uri).glob("*.parquet")):
        checked.parts += 1
        if deep:
            checked.bytes += path.stat().st_size
            if digest_file(path) != path.stem.rpartition("-")[2]:
                yield Finding(f"{item.uri}/{path.name}", "is damaged (its sha256 is not that of its name)", RECOMPUTED)
