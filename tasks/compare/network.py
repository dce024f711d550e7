"""What a trained network answers to the test rows."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from data_contracts.refs import CheckpointRef, FeatureRef, InputName, ValidatedRef
from tasks.modeling.card import ModelCard, read_card
from tasks.modeling.decision import column_slices
from tasks.modeling.inference import predict_probabilities
from tasks.modeling.package import load_model
from tasks.samples import Samples
from tasks.store import Store


def answer_test_rows(
    valid: ValidatedRef, features: Mapping[InputName, FeatureRef], checkpoint: CheckpointRef, store: Store
) -> tuple[NDArray[np.float32], ModelCard]:
    """(T, width) of the first label column, in the samples' order, and the model's card."""
    folder = store.path(checkpoint.uri)
    card = read_card(folder)
    samples = Samples.read(store.path(valid.uri)).of_split("test")
    outputs = predict_probabilities(load_model(folder, card), samples, features, store)
    return np.asarray(outputs[:, column_slices(card.label_targets)[0]]), card
