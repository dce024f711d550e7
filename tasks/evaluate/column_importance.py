"""How much a model relies on each column of an input that is made of several: permutation importance on validation rows.

A column's cells are dealt out anew among the rows, which leaves its distribution and breaks its tie to all else (Breiman, 2001;
scikit-learn's permutation_importance). Columns that say the same share their importance: dealing out one leaves the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from data_contracts.eval_detail import ColumnImportance, Importance
from data_contracts.modalities import modality_of
from data_contracts.refs import CheckpointRef, FeatureRef, InputName, ValidatedRef
from tasks import progress
from tasks.evaluate.media_reading import encoded_once, with_features
from tasks.evaluate.scorers import make_scorer
from tasks.media.media_store import MediaReader
from tasks.modalities import spec_of
from tasks.modeling.card import ModelCard, read_card
from tasks.modeling.encoder_spec import EncoderSpec
from tasks.modeling.inference import load_inputs, predict_inputs
from tasks.modeling.package import load_model
from tasks.modeling.profile import choose
from tasks.problems.metric import Probabilities
from tasks.problems.registry import get_metric, problem_of
from tasks.samples import Samples
from tasks.store import Store

ROWS = 512
"""Validation rows that are looked at, at most."""
REPEATS = 5
"""Deals of each column."""


def measure_importance(
    valid: ValidatedRef, features: Mapping[InputName, FeatureRef], checkpoint: CheckpointRef, seed: int, store: Store
) -> Importance | None:
    """The importance of every column; None where no input has columns, or no validation row tells the metric."""
    card = read_card(store.path(checkpoint.uri))
    named = [name for name in checkpoint.modalities if spec_of(name).joined_columns() is not None]
    samples = Samples.read(store.path(valid.uri)).of_split("val")
    if not named or not len(samples):
        return None
    samples = choose(samples, ROWS)
    model = load_model(store.path(checkpoint.uri), card)
    inputs = load_inputs(model, samples, features, store)
    metric = problem_of(card.label_targets[0]).baseline_metric
    sign = 1 if get_metric(metric).lower_is_better else -1
    before = _score(card, samples, predict_inputs(model, inputs), metric)
    if before is None:
        return None
    found: list[ColumnImportance] = []
    for name in named:
        media = _media(samples, name, valid, store)
        if not any(media):
            continue
        prepare = spec_of(name).prepare_tiny({})
        with encoded_once(model, inputs, [name]):
            for column, deals in _deals(media, name, card.encoders[name], seed):
                dealt = (
                    with_features(inputs, name, [None if medium is None else prepare(medium, 0) for medium in deal])
                    for deal in deals
                )
                after = [_score(card, samples, predict_inputs(model, each), metric) for each in dealt]
                drops = [sign * (value - before) for value in after if value is not None]
                found.append(
                    ColumnImportance(
                        input=name, name=column, drop=float(np.mean(drops)), low=min(drops), high=max(drops)
                    )
                )
    ranked = sorted(found, key=lambda each: (-each.drop, each.name))
    return Importance(
        metric=metric, unit=get_metric(metric).unit, value=before, rows=len(samples), columns=tuple(ranked)
    )


def _score(card: ModelCard, samples: Samples, outputs: Probabilities, metric: str) -> float | None:
    own = card.label_targets[0].labels
    labels = tuple(dict.fromkeys((*own, *filter(None, samples.labels)))) if own else ()
    return make_scorer(card, 0, outputs, samples.targets(0, ""), labels)[0].score()[metric]


def _media(samples: Samples, name: InputName, valid: ValidatedRef, store: Store) -> list[str | None]:
    """The rows' media, None for a row that lacks the input."""
    cells = samples.digests(name)
    digests = {cell for cell in cells if cell is not None}
    known = dict(MediaReader(store, modality_of(name), valid.clean.media[name]).read(digests))
    return [None if cell is None else str(known[cell]) for cell in cells]


def _deals(
    media: Sequence[str | None], name: InputName, spec: EncoderSpec, seed: int
) -> Iterator[tuple[str, list[list[str | None]]]]:
    """Every column with the media as REPEATS deals leave them."""
    columns = spec_of(name).joined_columns()
    assert columns is not None
    there = [place for place, medium in enumerate(media) if medium is not None]
    rows = [medium for medium in media if medium is not None]
    names = [columns.split_entry(entry)[0] for entry in columns.columns_read(spec)]
    for done, column in enumerate(names, start=1):
        deals = []
        for repeat in range(REPEATS):
            order = np.random.default_rng([seed, done, repeat]).permutation(len(rows))
            dealt: list[str | None] = [None] * len(media)
            for place, medium in zip(there, columns.permute(rows, column, order.tolist()), strict=True):
                dealt[place] = medium
            deals.append(dealt)
        yield column, deals
        progress.report("importance", done, len(names), f"column {column}")
