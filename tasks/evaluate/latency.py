"""How fast two models answer the same rows, in turns, so that what else the machine does slows both. Imports torch."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from data_contracts.compression import Latency
from data_contracts.modalities import modality_of
from data_contracts.refs import CheckpointRef, ValidatedRef
from tasks.config import RunConfig
from tasks.evaluate.inference_cost import BATCH_ROWS, THREADS
from tasks.evaluate.media_reading import FeatureMaker, read_media, with_features
from tasks.modeling.card import CARD, read_card
from tasks.modeling.features import Inputs
from tasks.modeling.inference import predict_inputs
from tasks.modeling.package import load_model
from tasks.modeling.pretrained.describe import require_place
from tasks.modeling.profile import choose
from tasks.samples import Samples
from tasks.store import Store

REPEATS = (5, 40)
ENOUGH_S = 3.0
"""No further repeat after so long, of both models together."""


def measure_pair(
    compressed: CheckpointRef, original: CheckpointRef, valid: ValidatedRef, config: RunConfig, store: Store
) -> Latency:
    """Medians of one test row and of a batch, from decoded media to answer, one model after the other in each repeat."""
    samples = choose(Samples.read(store.path(valid.uri)).of_split("test"), BATCH_ROWS)
    answers = [_answer(each, samples, valid, config, store) for each in (compressed, original)]
    rows = _medians_ms([lambda answer=answer: answer(1) for answer in answers])  # type: ignore[misc]
    batches = _medians_ms([lambda answer=answer: answer(len(samples)) for answer in answers])  # type: ignore[misc]
    return Latency(
        row_ms=round(rows[0], 3),
        batch_ms=round(batches[0], 3),
        original_row_ms=round(rows[1], 3),
        original_batch_ms=round(batches[1], 3),
        batch_rows=len(samples),
    )


def _answer(
    checkpoint: CheckpointRef, samples: Samples, valid: ValidatedRef, config: RunConfig, store: Store
) -> Callable[[int], object]:
    folder = store.path(checkpoint.uri)
    card, model = read_card(folder), load_model(folder)
    held = [name for name in card.modalities if name in valid.clean.media]
    media = {name: read_media(samples, name, valid.clean.media, store) for name in held}
    makers = [FeatureMaker.of(name, card, folder, config) for name in held]

    def answer(rows: int) -> object:
        """The first rows are answered."""
        inputs = Inputs({}, {}, rows)
        for maker in makers:
            inputs = with_features(inputs, maker.name, maker.make(media[maker.name][:rows]))
        return predict_inputs(model, inputs, threads=THREADS)

    return answer


def _medians_ms(works: list[Callable[[], object]]) -> list[float]:
    """Of each, after one that warms up, in turns."""
    for work in works:
        work()
    took: list[list[float]] = [[] for _ in works]
    least, most = REPEATS
    while len(took[0]) < least or (len(took[0]) < most and sum(map(sum, took)) < ENOUGH_S):
        for work, times in zip(works, took, strict=True):
            began = time.perf_counter()
            work()
            times.append(time.perf_counter() - began)
    return [1000 * statistics.median(times) for times in took]


def release_bytes(checkpoint: CheckpointRef, config: RunConfig, store: Store) -> int:
    """Of all that a release of the model needs: weights, card, tokenizers, and the files of its frozen encoders."""
    folder = store.path(checkpoint.uri)
    card = read_card(folder)
    files = [folder / name for name in ("model.safetensors", CARD, *card.files_beside())]
    places = {}
    for name in card.modalities:
        if card.encoders[name].reads == "embedding":
            spec = FeatureMaker.of(name, card, folder, config).spec
            places[spec.weights_sha256] = require_place(modality_of(name), spec)
    files += [path for place in places.values() for path in (*place.weights, *place.beside)]
    return sum(path.stat().st_size for path in files)
