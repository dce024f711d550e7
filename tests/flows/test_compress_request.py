"""What a student cannot learn of a model is refused before any work."""

from __future__ import annotations

import pytest

from flows.compress_request import require_fused_features
from tasks.config import RunConfig, load_config
from tasks.errors import UsageError
from tasks.modeling.card import BlendMember, ModelCard
from tasks.modeling.encoder_spec import EncoderSpec

TINY = {"text": EncoderSpec(encoder="tiny", reads="inputs")}
RECORD = {
    "format": 2,
    "labels": ["a", "b"],
    "modalities": ["text"],
    "encoders": TINY,
    "config": RunConfig().subset("media", "extract", "encoders", "fusion"),
}


def test_a_blend_has_no_fused_features_to_learn() -> None:
    asked = load_config({}, ["compress.distill_features_weight=0.5"])
    member = BlendMember(encoders=TINY, fusion=RunConfig().fusion, weight=0.5)
    card = ModelCard.model_validate(RECORD | {"blend": [member, member]})
    with pytest.raises(UsageError, match=r"distill_features_weight=0\.5: the model blends 2 models"):
        require_fused_features(asked, card)
    require_fused_features(RunConfig(), card)
    require_fused_features(asked, ModelCard.model_validate(RECORD))
