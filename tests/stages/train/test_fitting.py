"""What scales classical features is fitted to the rows that have them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from data_contracts.refs import InputName
from tasks.config import FusionConfig
from tasks.modeling.encoder_spec import EncoderSpec
from tasks.modeling.features import FeatureTable, Inputs
from tasks.modeling.fusion.classifier import FusedClassifier
from tasks.train.fitting import fit_standardised


def table(name: InputName, values: np.ndarray) -> FeatureTable:
    count, width = values.shape
    digests = pa.array([str(row) for row in range(count)], pa.string())
    lengths = np.full(count, width)
    return FeatureTable(name, digests, np.arange(count) * width, lengths, values.astype(np.float32).ravel())


def test_it_knows_the_rows_that_have_the_input_each_as_often_as_it_is_there() -> None:
    values = np.array([[1.0, 0.0], [3.0, 8.0], [100.0, 100.0]])
    spec = EncoderSpec(encoder="classical", reads="embedding", width=2)
    other = EncoderSpec(encoder="hf:x", reads="embedding", width=2)
    model = FusedClassifier({"audio": spec, "text": other}, 2, FusionConfig())
    places = np.array([0, 1, -1, 1, 0])  # no row has the third
    fit_standardised(model, Inputs({"audio": table("audio", values), "text": table("text", values)}, {
        "audio": places, "text": places}, 5))  # fmt: skip
    state = model.state_dict()
    assert state["encoders.audio.mean"].tolist() == [2, 4]
    assert state["encoders.audio.scale"].tolist() == pytest.approx([1, 0.25])
    assert not [name for name in state if name.startswith("encoders.text")]
