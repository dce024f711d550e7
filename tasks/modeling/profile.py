"""A profile: what rows of data look like, and what a model makes of them, small enough to lie beside the model.

The model is published with the profile of its own rows (profile.safetensors). What the data show without a model is
taken from its training rows; what the model makes of them (predictions, confidence, embeddings) from the validation
and test rows: of rows that it was trained on, a model is surer than of any others. Row order changes nothing: rows
are chosen by a hash of their id.
"""

from __future__ import annotations

import hashlib
import heapq
import itertools
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_contracts.modalities import modality_of
from data_contracts.refs import FeatureRef, InputName
from tasks.errors import DataError
from tasks.media.media_store import MediaReader
from tasks.modalities import spec_of
from tasks.modeling.card import ModelCard, read_card
from tasks.modeling.encoder_spec import EncoderSpec
from tasks.problems.registry import problem_of
from tasks.samples import Samples
from tasks.store import Store, canonical_json

PROFILE = "profile.safetensors"
MEASURED_ROWS = 1024
"""Rows whose media are opened: 4 KiB of numbers for each measure."""
MODEL_ROWS = 512
"""Rows that the model predicts: 64 KiB of float16 for each modality."""
WIDTH = 64
"""Of an embedding; a wider one is projected at random, which keeps distances (Johnson and Lindenstrauss)."""
CATEGORIES = 200
OTHER = "(other)"
"""All categories but the most frequent 200."""


@dataclass(frozen=True)
class Profile:
    """Distributions under the names that people read: `image missing`, `image brightness`, `label`, `image embedding`."""

    categories: dict[str, dict[str, int]] = field(default_factory=dict)
    numbers: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    embeddings: dict[str, NDArray[np.float16]] = field(default_factory=dict)


def profile_rows(
    data: Samples,
    held_out: Samples,
    media: Mapping[InputName, str],
    features: Mapping[InputName, FeatureRef],
    model: Path,
    store: Store,
) -> Profile:
    """The profile of two sets of samples: `data` as they are, `held_out` as the model in the folder `model` sees them."""
    card = read_card(model)
    whole = Profile()
    for name in card.modalities:  # also one that new data have no column for
        present = int(data.has(name).sum()) if name in data.names else 0
        whole.categories[f"{name} missing"] = {"missing": len(data) - present, "present": present}
        if name in media:
            _measure(whole, name, card.encoders[name], choose(data, MEASURED_ROWS), media[name], store)
    first = card.label_targets[0]
    _mix(whole, "label", [text for text in data.labels if text], problem_of(first).is_numeric)
    if len(held_out):
        _add_answers(whole, choose(held_out, MODEL_ROWS), features, (model, card), store)
    return whole


def choose(samples: Samples, most: int) -> Samples:
    """At most so many rows, in the order of a hash of their id."""
    return samples.take(choose_places(samples.ids, most))


def choose_places(ids: Iterable[str], most: int) -> list[int]:
    """The positions of at most so many rows, in the order of a hash of their id."""
    keys = (hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest() for text in ids)
    return [place for _, place in heapq.nsmallest(most, zip(keys, itertools.count(), strict=False))]


def _measure(whole: Profile, name: InputName, spec: EncoderSpec, samples: Samples, media: str, store: Store) -> None:
    """Adds what the media of an input look like; media that were cleared from the store since are not counted."""
    cells = [digest for digest in samples.digests(name) if digest is not None]
    reader = MediaReader(store, modality_of(name), media)
    known = {digest: (medium, reader.rate_hz) for digest, medium in reader.read(cells)}
    found = spec_of(name).statistics([known[cell] for cell in cells if cell in known], spec)
    whole.numbers.update({f"{name} {of}": np.array(values, np.float32) for of, values in found.numbers.items()})
    whole.categories.update({f"{name} {of}": dict(_most_frequent(counts)) for of, counts in found.categories.items()})


def _add_answers(
    whole: Profile,
    samples: Samples,
    features: Mapping[InputName, FeatureRef],
    model: tuple[Path, ModelCard],
    store: Store,
) -> None:
    """Adds what the model makes of the rows."""
    from tasks.modeling.decision import answer_column
    from tasks.modeling.embedding import embed_and_predict
    from tasks.modeling.package import load_model

    folder, card = model
    probabilities, vectors = embed_and_predict(load_model(folder, card), samples, features, store)
    answers, chances = answer_column(card, 0, probabilities)
    _mix(whole, "prediction", list(answers), chances is None)
    if chances is not None:
        whole.numbers["confidence"] = np.asarray(chances, np.float32)
    whole.embeddings.update({f"{name} embedding": shorten(found) for name, found in vectors.items()})


def _mix(whole: Profile, name: str, answers: Sequence[str], numeric: bool) -> None:
    """Adds answers, where there are any: rows without labels tell nothing of them."""
    if answers and numeric:
        whole.numbers[name] = np.array([float(text) for text in answers], np.float32)
    elif answers:
        whole.categories[name] = dict(_most_frequent(Counter(answers)))


def _most_frequent(counts: Mapping[str, int]) -> Counter[str]:
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    kept = Counter(dict(ranked[:CATEGORIES]))
    rest = sum(count for _, count in ranked[CATEGORIES:])
    return kept + Counter({OTHER: rest} if rest else {})


def shorten(vectors: NDArray[np.floating[Any]]) -> NDArray[np.float16]:
    """(N, D) as (N, at most 64), by signs that depend only on D: the same on every machine and with every numpy."""
    width = vectors.shape[1]
    if width <= WIDTH:
        return vectors.astype(np.float16)
    bits = np.unpackbits(np.frombuffer(hashlib.shake_256(b"%d" % width).digest(width * WIDTH // 8), np.uint8))
    signs = bits.reshape(width, WIDTH).astype(np.float64) * 2 - 1
    return np.asarray(vectors @ (signs / np.sqrt(WIDTH)), np.float16)


def write_profile(profile: Profile, path: Path) -> None:
    """The file holds the profile; the same profile gives the same bytes."""
    from safetensors.numpy import save

    arrays = {f"number/{name}": values for name, values in profile.numbers.items()}
    arrays |= {f"embedding/{name}": np.ascontiguousarray(values) for name, values in profile.embeddings.items()}
    path.write_bytes(save(arrays, metadata={"categories": canonical_json(profile.categories)}))


def read_profile_file(folder: Path) -> Profile:
    """The profile of the published model in a folder. DataError where the file is damaged or gone."""
    from safetensors import SafetensorError, safe_open

    path = folder / PROFILE
    try:
        with safe_open(path, "numpy") as file:
            categories = json.loads(file.metadata()["categories"])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dict)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"model {path}: damaged ({' '.join(str(error).split())[:200]}); publish it again") from None
    held: dict[str, dict[str, NDArray[Any]]] = {"number": {}, "embedding": {}}
    for name, values in arrays.items():
        group, _, of = name.partition("/")
        held.setdefault(group, {})[of] = values
    return Profile(categories, held["number"], held["embedding"])
