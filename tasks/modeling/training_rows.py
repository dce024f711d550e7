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
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_contracts.refs import InputName, Split
from data_contracts.training_history import TrainRowChanges
from tasks.errors import DataError
from tasks.modalities import spec_of
from tasks.samples import Samples

ROWS = "rows.safetensors"
SPLITS: tuple[Split, ...] = ("train", "val", "test")
_BYTES = 16
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

    ids, splits = samples.ids, samples.splits
    held = {split: _digests(i for i, own in zip(ids, splits, strict=True) if own == split) for split in SPLITS}
    sided = set(zip(samples.groups, splits, strict=True)) if "group" in samples.names else set()
    held_groups = {
        f"{_GROUPS}{split}": _digests(group for group, own in sided if group is not None and own == split)
        for split in SPLITS
    }
    learned = samples.of_split("train", "val")
    groups = learned.groups if "group" in learned.names else []
    seen: dict[str, Sequence[str | None]] = {
        "ids": learned.ids,
        "contents": contents_of(learned, modalities),
        "groups": sorted({*filter(None, groups)}),
    }
    trained = {_TRAINED: _digests(_describe(samples.of_split("train"), modalities))}
    digests = {f"{_SEEN}{name}": _digests(filter(None, texts)) for name, texts in seen.items()}
    if continued_from is not None:
        earlier = read_seen(continued_from)
        digests = {key: _merged(own, getattr(earlier, key.removeprefix(_SEEN))) for key, own in digests.items()}
    path.write_bytes(save({name: _array(found) for name, found in (held | held_groups | trained | digests).items()}))


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


def _describe(samples: Samples, modalities: Sequence[InputName]) -> list[str]:
    """(N,) id, labels, weight and canonical media of each row, as one text."""
    names = ("id", "label", "targets", "weight", *modalities)
    columns = [samples.column(name).to_pylist() if name in samples.names else [None] * len(samples) for name in names]
    return [json.dumps(row) for row in zip(*columns, strict=True)]


def contents_of(samples: Samples, modalities: Sequence[InputName]) -> list[str | None]:
    """(N,) the canonical media of these inputs, as one text; None where a row has none that tells rows apart."""
    media = [samples.digests(name) if name in samples.names else [None] * len(samples) for name in modalities]
    identifying = [spec_of(name).identifies for name in modalities]  # by a few columns no sample is known
    return [
        " ".join(f"{name}:{digest}" for name, digest in zip(modalities, row, strict=True) if digest)
        if any(itertools.compress(row, identifying))
        else None
        for row in (zip(*media, strict=True) if media else [()] * len(samples))
    ]


def _load(path: Path) -> dict[str, Digests]:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        held: dict[str, Digests] = load(path.read_bytes())
    except (OSError, SafetensorError) as error:
        raise DataError(f"model {path}: damaged ({' '.join(str(error).split())[:200]}); publish it again") from None
    return held


def _merged(own: list[bytes], earlier: Digests) -> list[bytes]:
    return sorted({*own, *(row.tobytes() for row in earlier)})


def are_known(texts: Iterable[str | None], digests: Digests) -> NDArray[np.bool_]:
    """(N,) whether each id, content or group is among the digests (M, 16); None is not."""
    known = {row.tobytes() for row in digests}
    return np.array([each is not None and _digest(each) in known for each in texts], bool)


def _digests(ids: Iterable[str]) -> list[bytes]:
    return sorted(_digest(each) for each in ids)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:_BYTES]


def _array(digests: list[bytes]) -> Digests:
    return np.frombuffer(b"".join(digests), np.uint8).reshape(-1, _BYTES)
