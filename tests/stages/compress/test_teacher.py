"""Whose student rows can train."""

from __future__ import annotations

import pytest

from data_contracts.refs import Target
from tasks.compress.teacher import require_same_labels
from tasks.config import RunConfig
from tasks.errors import DataError
from tasks.modeling.card import FORMAT, CardConfig, ModelCard
from tasks.modeling.encoder_spec import EncoderSpec

CONFIG = RunConfig()
CARD = ModelCard(
    format=FORMAT,
    labels=("a", "b"),
    modalities=("text",),
    encoders={"text": EncoderSpec(encoder="tiny", reads="inputs")},
    config=CardConfig(media=CONFIG.media, extract=CONFIG.extract, encoders=CONFIG.encoders, fusion=CONFIG.fusion),
)


def test_the_same_labels_are_taught() -> None:
    require_same_labels(CARD, (Target(name="kind", labels=("a", "b")),))


@pytest.mark.parametrize(
    "targets",
    [
        (Target(name="label", labels=("a", "c")),),
        (Target(name="label", labels=("a", "b", "c")),),
        (Target(name="label", problem="multilabel", labels=("a", "b")),),
        (Target(name="label", labels=("a", "b")), Target(name="size", problem="regression")),
    ],
    ids=["another", "one more", "another problem", "one more column"],
)
def test_others_are_refused(targets: tuple[Target, ...]) -> None:
    with pytest.raises(DataError, match="a student has the labels of its teacher"):
        require_same_labels(CARD, targets)
