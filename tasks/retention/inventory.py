"""What lies in a store: every artifact and every folder of parts, with its size on disk and when it was used last."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

ARTIFACT_KINDS = (
    *("raw", "clean", "validations", "refusals", "checkpoints", "evaluations", "verdicts", "champions", "encoders"),
    *("monitors", "live", "manifests", "datasets/digits", "views", "out_of_fold", "audits", "trials", "studies"),
    *("explanation_parts", "explanations", "fits", "comparisons", "teachers", "compressed", "compressions"),
    *("classical_baselines", "paired_losses"),
    *("pairs", "translated", "translations"),
)
"""Folders of artifacts, one folder each."""
PART_KINDS = ("media", "features", "signatures", "shards")
"""Folders of parts: `kind/modality/fingerprint/*.parquet`, used and collected a fingerprint at a time."""


@dataclass(frozen=True)
class Item:
    """An artifact, or the parts of one fingerprint."""

    uri: str
    bytes: int
    """On disk; a file that has several names counts once, where it is met first."""
    used: float
    """When a run found or made it last, in s since 1970."""

    @property
    def kind(self) -> str:
        """The folder it lies in: `checkpoints`, `media/image`."""
        return self.uri.rpartition("/")[0]


@dataclass
class DiskUsage:
    """Adds up what files take on disk, each file once, whatever the number of its names."""

    seen: set[tuple[int, int]] = field(default_factory=set)

    def of(self, path: Path) -> int:
        """Bytes of a file, or of all below a folder, that were not counted before; 0 where it is gone."""
        total = 0
        for place in (path, *_below(path)):
            try:
                state = place.lstat()
            except FileNotFoundError:  # collected, or replaced, since it was listed
                continue
            if (state.st_dev, state.st_ino) not in self.seen:
                self.seen.add((state.st_dev, state.st_ino))
                total += state.st_blocks * 512
        return total


def _below(path: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(path):
        yield from (Path(folder) / name for name in (*folders, *files))


def list_items(root: Path, usage: DiskUsage | None = None) -> list[Item]:
    """Every artifact and fingerprint of parts, in the order of the kinds."""
    usage = usage or DiskUsage()
    folders = [path for kind in ARTIFACT_KINDS for path in _folders(root / kind)]
    folders += [path for kind in PART_KINDS for modality in _folders(root / kind) for path in _folders(modality)]
    return [item for path in folders if (item := _item(root, path, usage)) is not None]


def is_artifact(item: Item) -> bool:
    """Whether it is one artifact, not parts."""
    return item.kind in ARTIFACT_KINDS


def _item(root: Path, path: Path, usage: DiskUsage) -> Item | None:
    try:
        used = path.stat().st_mtime
    except FileNotFoundError:
        return None
    return Item(path.relative_to(root).as_posix(), usage.of(path), used)


def _folders(path: Path) -> list[Path]:
    return sorted(entry for entry in path.glob("*") if entry.is_dir())


def freed_bytes(paths: Iterable[Path]) -> int:
    """What deleting these would free: a file that has a name elsewhere, too, frees nothing."""
    names: Counter[tuple[int, int]] = Counter()
    sizes: dict[tuple[int, int], tuple[int, int]] = {}
    for path in paths:
        for place in (path, *_below(path)):
            with contextlib.suppress(FileNotFoundError):
                state = place.lstat()
                known = (state.st_dev, state.st_ino)
                names[known] += 1
                sizes[known] = (1 if place.is_dir() else state.st_nlink, state.st_blocks * 512)
    return sum(size for known, (links, size) in sizes.items() if names[known] >= links)
