"""What a plan says of the last run where the encoders are left open: both models were trained then, whichever was kept."""

from __future__ import annotations

from data_contracts.encoder_choice import ComparedEncoders, EncoderChoice
from data_contracts.refs import FeatureRef
from data_contracts.run_refs import RunRefs
from flows.plan_since import Earlier
from tasks.config import RunConfig, load_config
from tasks.encoder_choice import with_encoders
from tasks.encoder_ids import BLEND

KINDS = ("image", "text", "audio", "video")
TINY, CLASSICAL = (with_encoders(RunConfig(), dict.fromkeys(KINDS, name)) for name in ("tiny", "classical"))
COMPARED = (
    ComparedEncoders(encoders={"image": "tiny"}, epochs=4, seconds=9.0),
    ComparedEncoders(encoders={"image": "classical"}, epochs=10, seconds=1.0),
    ComparedEncoders(encoders={"image": BLEND}),
)
CHOICE = EncoderChoice(encoders=dict.fromkeys(KINDS, BLEND), compared=COMPARED)
OF_TINY = {"image": FeatureRef.model_construct(encoder="tiny", fingerprint="a" * 64)}


def test_encoders_that_the_last_run_tried_are_no_change() -> None:
    blended = Earlier("first", RunRefs(encoder_choice=CHOICE), TINY)
    evaluated_only = Earlier("first", RunRefs(), RunConfig())
    for earlier in (blended, evaluated_only):
        for config in (TINY, CLASSICAL):
            assert earlier.as_candidate(config, KINDS).settings_since(config, "encoders", "train") == ""
    named = Earlier("first", RunRefs(), TINY)
    assert "encoders.image tiny -> classical" in named.as_candidate(CLASSICAL, KINDS).settings_since(
        CLASSICAL, "encoders"
    )


def test_features_of_an_encoder_that_was_tried_are_of_no_other_encoder() -> None:
    blended = Earlier("first", RunRefs.model_construct(features=OF_TINY, encoder_choice=CHOICE), TINY)
    assert blended.as_candidate(CLASSICAL, KINDS).why_anew("image", "b" * 64, CLASSICAL) == ""
    smaller = load_config(CLASSICAL.model_dump(mode="json"), ["extract.image_px=24"])
    assert "image_px" in blended.as_candidate(smaller, KINDS).why_anew("image", "b" * 64, smaller)
    named = Earlier("first", RunRefs.model_construct(features=OF_TINY, encoder_choice=None), TINY)
    assert named.as_candidate(CLASSICAL, KINDS).why_anew("image", "b" * 64, CLASSICAL) == (
        "another encoder: tiny -> classical"
    )


def test_the_models_that_a_run_trained_are_counted() -> None:
    assert Earlier("first", RunRefs(encoder_choice=CHOICE), TINY).tried == 2, "to blend trains nothing"
    assert Earlier("first", RunRefs(), TINY).tried == 1
