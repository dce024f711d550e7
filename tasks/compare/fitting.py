"""Answers to the test rows: of a trained network of the pipeline, and of models that are fitted here to one raw modality."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import sklearn.feature_extraction.text
import sklearn.naive_bayes
import sklearn.svm  # noqa: F401 (here, so that the time of no fit holds it)
from numpy.typing import NDArray

from data_contracts.comparison import FitCost, Method
from data_contracts.modalities import modality_of
from data_contracts.refs import CheckpointRef, FeatureRef, InputName, Modality, Target, ValidatedRef
from tasks.compare.classical import Fitted, Rows, fit_naive_bayes, fit_svm, standardised
from tasks.compare.fits import Answers
from tasks.compare.raw_inputs import cepstra_of, gradients_of, read_media, read_sequences, read_words
from tasks.compare.recurrent import RawRows, fit_gru
from tasks.config import RunConfig
from tasks.modeling.card import ModelCard, read_card
from tasks.modeling.decision import column_slices
from tasks.modeling.inference import predict_probabilities
from tasks.modeling.package import load_model
from tasks.problems.metric import Indices
from tasks.samples import Samples
from tasks.store import Store

Start = Callable[[], Callable[[], FitCost]]
"""Begins to measure, once all is read; what it returns tells the cost until it is called."""


def answer_test_rows(
    valid: ValidatedRef, features: Mapping[InputName, FeatureRef], checkpoint: CheckpointRef, store: Store
) -> tuple[NDArray[np.float32], ModelCard]:
    """(T, width) of the first label column, in the samples' order, and the model's card."""
    folder = store.path(checkpoint.uri)
    card = read_card(folder)
    samples = Samples.read(store.path(valid.uri)).of_split("test")
    outputs = predict_probabilities(load_model(folder, card), samples, features, store)
    return np.asarray(outputs[:, column_slices(card.label_targets)[0]]), card


def fit_raw(
    method: Method, modality: Modality, valid: ValidatedRef, config: RunConfig, store: Store, start: Start
) -> Answers:
    """Of a model that reads one modality as it is: its settings chosen on the validation rows, fitted to the train rows."""
    rows = SplitRows.read(valid, valid.clean.label_targets[0], store)
    names = [name for name in valid.clean.modalities if modality_of(name) == modality]
    if method == "recurrent":
        return _fit_recurrent(rows, names[0], valid, config, store, start)
    if method == "naive-bayes":
        return _fit_words(rows, names, valid, store, start)
    return _fit_vectors(rows, names, method == "hog-svm", valid, config, store, start)


def _fit_words(rows: SplitRows, names: Sequence[InputName], valid: ValidatedRef, store: Store, start: Start) -> Answers:
    texts = [read_words(rows.samples, name, valid, store) for name in names]
    joined = [" ".join(parts) for parts in zip(*texts, strict=True)]
    cost = start()
    fitted = fit_naive_bayes(
        {split: [joined[row] for row in places] for split, places in rows.places.items()},
        {split: rows.truth[places] for split, places in rows.places.items()},
        rows.weights[rows.places["train"]],
        len(rows.target.labels),
    )
    return Answers.of(fitted, rows.target, cost())


def _fit_vectors(
    rows: SplitRows,
    names: Sequence[InputName],
    is_hog: bool,
    valid: ValidatedRef,
    config: RunConfig,
    store: Store,
    start: Start,
) -> Answers:
    media = {name: read_media(rows.samples, name, valid, store) for name in names}
    cost = start()
    parts = [gradients_of(media[name]) if is_hog else cepstra_of(media[name], name, config) for name in names]
    features = np.concatenate(parts, axis=1)
    if not is_hog:  # whose numbers have one scale
        features = standardised(features, np.isin(np.arange(len(features)), rows.places["train"]))
    tables = {
        split: Rows(features[places], rows.truth[places], rows.weights[places]) for split, places in rows.places.items()
    }
    return Answers.of(fit_svm(tables, len(rows.target.labels)), rows.target, cost())


def _fit_recurrent(
    rows: SplitRows, name: InputName, valid: ValidatedRef, config: RunConfig, store: Store, start: Start
) -> Answers:
    sequences = read_sequences(rows.samples, name, valid, config, store)
    raw = {
        split: RawRows([sequences[row] for row in places], rows.truth[places], rows.weights[places])
        for split, places in rows.places.items()
    }
    cost, classes = start(), len(rows.target.labels)
    gru = fit_gru(raw["train"], raw["val"], raw["test"].sequences, modality_of(name), classes, config)
    fitted = Fitted(gru.outputs, {"best_epoch": gru.best_epoch}, gru.parameters, gru.notes)
    return Answers.of(fitted, rows.target, cost())


@dataclass(frozen=True)
class SplitRows:
    """The rows of a validated table as models outside the pipeline take them; rows with another label than the target's are
    left out of train and val."""

    samples: Samples
    target: Target
    """The first label column."""
    truth: Indices
    """(N,) positions in the labels, -1 for another label."""
    weights: NDArray[np.float64]
    places: Mapping[str, Indices]
    """Split to the positions of its rows."""

    @classmethod
    def read(cls, valid: ValidatedRef, target: Target, store: Store) -> SplitRows:
        """Those of a validated table."""
        samples = Samples.read(store.path(valid.uri))
        position = {label: index for index, label in enumerate(target.labels)}
        truth = np.array([position.get(label, -1) for label in samples.labels], np.int64)
        split = np.array(samples.splits)
        places = {
            name: np.flatnonzero((split == name) & ((truth >= 0) | (name == "test")))
            for name in ("train", "val", "test")
        }
        return cls(samples, target, truth, samples.weights, places)
