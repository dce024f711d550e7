"""The rows that a model was trained and evaluated with: rows.safetensors beside it, digests of their ids by split. No torch.

Its groups are kept by split, too, so that they can keep it (stratified-group). Of the rows that it has seen, those of
train and val, and those of the model that it was continued from, also digests of their content and groups: a row may come back
under another id. Of train rows also digests of all that training sees of each, so that a later run knows what has changed.
All are known by the first 16 bytes of a sha256. That tells whether a given id was among the rows; it lists none, but an id
that can be guessed can be confirmed.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from data_contracts.refs import InputName, Split
from data_contracts.training_history import TrainRowChanges
from tasks.errors import DataError
from tasks.modalities import spec_of
from tasks.samples import Samples

ROWS = "rows.safetensors"
SPLITS: tuple[Split, ...] = ("train", "val", "test")
_BYTES = 16
_HELD_ROWS = 50_000
_SEEN = "seen."
_GROUPS = "groups."
_TRAINED = "train.rows"

Digests = NDArray[np.uint8]
"""(N, 16), sorted."""
Known = dict[Split, Digests]
"""By split."""


@dataclass(frozen=True)
class Seen:
    """What a model, and those that it was continued from, have seen in training and validation."""

    ids: Digests
    contents: Digests
    """Of the inputs that the model reads, see `contents_of`."""
    groups: Digests


def write_rows(
    samples: Samples, path: Path, modalities: Sequence[InputName] = (), continued_from: Path | None = None
) -> None:
    """The file holds the rows of a samples table; the same rows give the same bytes, whatever their order.

    `modalities` are those that the model reads; `continued_from` is the folder of the model that its training began with.
    """
    from safetensors.numpy import save

    of_split = {split: samples.of_split(split) for split in SPLITS}
    has_groups = "group" in samples.names
    digests: dict[str, Digests] = {split: _sorted(_cells(rows, "id")) for split, rows in of_split.items()}
    for split, rows in of_split.items():
        groups = pc.unique(rows.column("group").drop_null()).to_pylist() if has_groups else []
        digests[f"{_GROUPS}{split}"] = _sorted(groups)
    learned = samples.of_split("train", "val")
    seen: dict[str, Iterable[str | None]] = {
        "ids": _cells(learned, "id"),
        "contents": contents_of(learned, modalities),
        "groups": pc.unique(learned.column("group")).to_pylist() if has_groups else [],
    }
    earlier = None if continued_from is None else read_seen(continued_from)
    for name, texts in seen.items():
        own = _sorted(filter(None, texts))
        digests[f"{_SEEN}{name}"] = own if earlier is None else _merged(own, getattr(earlier, name))
    digests[_TRAINED] = _sorted(_describe(of_split["train"], modalities))
    path.write_bytes(save(digests))


def read_rows(folder: Path) -> Known:
    """The rows of the published model in a folder. DataError where the file is damaged or gone."""
    held = _load(folder / ROWS)
    return {split: held[split] for split in SPLITS if split in held}


def read_seen(folder: Path) -> Seen:
    """What the published model in a folder has seen. DataError where the file is damaged, gone, or does not say."""
    held = _load(folder / ROWS)
    try:
        return Seen(*(held[f"{_SEEN}{name}"] for name in ("ids", "contents", "groups")))
    except KeyError as error:
        raise DataError(f"model {folder / ROWS}: does not hold {error}; publish the model again") from None


def compare_train_rows(train: Samples, folder: Path, modalities: Sequence[InputName]) -> TrainRowChanges:
    """How these train rows differ from those of the published model in a folder, which reads these inputs. DataError as
    `read_seen`."""
    held = _load(folder / ROWS)
    if _TRAINED not in held:
        raise DataError(f"model {folder / ROWS}: does not hold its train rows' content; publish the model again")
    known = are_known(train.ids, held["train"])
    same = are_known(_describe(train, modalities), held[_TRAINED])
    before, kept = len(held["train"]), int(known.sum())
    return TrainRowChanges(
        before=before, added=len(train) - kept, removed=before - kept, altered=int((known & ~same).sum())
    )


def find_splits(ids: Sequence[str], groups: Sequence[str | None], folder: Path) -> list[Split | None]:
    """(N,) the split that each row's group, or a row without one, had when the published model in a folder was made; None for
    those that came since. DataError as `read_seen`."""
    held = _load(folder / ROWS)
    found: list[Split | None] = [None] * len(ids)
    try:
        for split in reversed(SPLITS):  # a group that was in several is one of train
            of_group, of_row = are_known(groups, held[f"{_GROUPS}{split}"]), are_known(ids, held[split])
            for row, group in enumerate(groups):
                if of_row[row] if group is None else of_group[row]:
                    found[row] = split
    except KeyError as error:
        raise DataError(f"model {folder / ROWS}: does not hold {error}; publish the model again") from None
    return found


def _describe(samples: Samples, modalities: Sequence[InputName]) -> Iterator[str]:
    """(N,) id, labels, weight and canonical media of each row, as one text."""
    names = ("id", "label", "targets", "weight", *modalities)
    for row in zip(*(_cells(samples, name) for name in names), strict=True):
        yield json.dumps(row)


def contents_of(samples: Samples, modalities: Sequence[InputName]) -> Iterator[str | None]:
    """(N,) the canonical media of these inputs, as one text; None where a row has none that tells rows apart."""
    identifying = [spec_of(name).identifies for name in modalities]  # by a few columns no sample is known
    media = [_cells(samples, name) for name in modalities]
    for row in zip(*media, strict=True) if media else itertools.repeat((), len(samples)):
        telling = any(itertools.compress(row, identifying))
        named = zip(modalities, row, strict=True)
        yield " ".join(f"{name}:{digest}" for name, digest in named if digest) if telling else None


def _cells(samples: Samples, name: str) -> Iterator[Any]:
    """(N,) of a column, of which a part is in memory as Python's; None where it is not there."""
    if name not in samples.names:
        yield from itertools.repeat(None, len(samples))
        return
    column = samples.column(name)
    for start in range(0, len(column), _HELD_ROWS):
        yield from column.slice(start, _HELD_ROWS).to_pylist()


def _load(path: Path) -> dict[str, Digests]:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        held: dict[str, Digests] = load(path.read_bytes())
    except (OSError, SafetensorError) as error:
        raise DataError(f"model {path}: damaged ({' '.join(str(error).split())[:200]}); publish it again") from None
    return held


def are_known(texts: Iterable[str | None], digests: Digests) -> NDArray[np.bool_]:
    """(N,) whether each id, content or group is among the digests (M, 16); None is not."""
    return are_among(digest_texts(texts), digests)


def are_among(digests: Digests, known: Digests) -> NDArray[np.bool_]:
    """(N,) whether each of the digests (N, 16) is among those that are known (M, 16); zeros are not."""
    keys, held = _keys(digests), np.sort(_keys(known), kind="stable")
    if not len(held):
        return np.zeros(len(keys), bool)
    places = np.minimum(np.searchsorted(held, keys), len(held) - 1)
    return np.asarray((held[places] == keys) & (keys != b""))


def digest_texts(texts: Iterable[str | None]) -> Digests:
    """(N, 16) of each text in its place; zeros for None."""
    found = bytearray()
    for text in texts:
        found += bytes(_BYTES) if text is None else _digest(text)
    return np.frombuffer(found, np.uint8).reshape(-1, _BYTES)


def _sorted(texts: Iterable[str | None]) -> Digests:
    return _rows(np.sort(_keys(digest_texts(texts))))


def _merged(own: Digests, earlier: Digests) -> Digests:
    return _rows(np.unique(np.concatenate([_keys(own), _keys(earlier)])))


def _keys(digests: Digests) -> NDArray[np.bytes_]:
    """(N,) the same bytes as values that NumPy compares and sorts."""
    return np.ascontiguousarray(digests).view(f"S{_BYTES}").reshape(-1)


def _rows(keys: NDArray[np.bytes_]) -> Digests:
    return keys.view(np.uint8).reshape(-1, _BYTES)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:_BYTES]
