"""Names of inputs: what they may be, their order, and that tables of one input a kind are what they always were."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
from pydantic import TypeAdapter, ValidationError

from data_contracts.modalities import ALL_MODALITIES, INPUTS, in_order, input_name, modality_of
from data_contracts.refs import InputName
from data_contracts.tables import raw_schema, samples_schema
from tasks.config import load_config
from tasks.config_sections import ColumnsConfig, MediaConfig
from tasks.config_training import EncodersConfig, ExtractConfig
from tasks.errors import UsageError
from tasks.modalities import MODALITIES, joined, spec_of
from tasks.modeling.encoder_spec import EncoderSpec


def test_every_name_is_one_that_a_ref_takes_and_of_its_kind() -> None:
    accepted = TypeAdapter(InputName)
    assert len(INPUTS) == 40
    for name, kind in INPUTS.items():
        assert accepted.validate_python(name) == name
        assert modality_of(name) == kind == spec_of(name).name
    assert [input_name("text", number) for number in (1, 2, 8)] == ["text", "text_2", "text_8"]


@pytest.mark.parametrize("name", ["images", "image_1", "image_9", "image_02", "image_", "Image", "image_2 ", "", "id"])
def test_no_other_name_is_taken(name: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(InputName).validate_python(name)
    with pytest.raises(ValueError, match="names no input"):
        modality_of(name)


def test_inputs_come_by_kind_and_then_by_number() -> None:
    mixed = {"video": 1, "text_3": 1, "image_2": 1, "text": 1, "image": 1, "audio_8": 1}
    assert in_order(mixed) == ("image", "image_2", "text", "text_3", "audio_8", "video")
    assert joined(["audio", "image_2", "image"]) == "image+image_2+audio"


def test_tables_of_one_input_a_kind_have_the_columns_they_always_had() -> None:
    media = [name for kind in ("image", "text", "audio", "video") for name in (kind, f"{kind}_sha256")]
    before = ["row", "table", "id", "label", "targets", "split", "group", "weight", "time", "metadata", "text_value"]
    expected = [*before, *media, "reason", "detail", "bad_modality"]
    for inputs in ((), ("image",), ("video", "text", "audio")):
        assert raw_schema(inputs).names == expected
        assert samples_schema(inputs).names == samples_schema().names
    assert samples_schema().names[6:] == ["image", "text", "audio", "video", "row", "table"]


def test_further_inputs_have_columns_only_where_there_are_some() -> None:
    more = set(raw_schema(("image_2", "text_3")).names) - set(raw_schema().names)
    assert more == {"image_2", "image_2_sha256", "text_3", "text_3_sha256", "text_3_value"}
    assert set(raw_schema(("tabular",)).names) - set(raw_schema().names) == {
        "tabular",
        "tabular_sha256",
        "tabular_value",
    }
    assert set(samples_schema(("image", "image_2")).names) - set(samples_schema().names) == {"image_2"}


def test_every_modality_has_its_object_with_every_part() -> None:
    assert tuple(MODALITIES) == ALL_MODALITIES
    for name, spec in MODALITIES.items():
        assert spec.name == name
        assert spec.module == f"tasks.modality_specs.{name}"
        assert set(spec.media_keys) <= MediaConfig.model_fields.keys()
        assert {*spec.tiny_keys, *spec.tiny_defaults, *spec.pretrained_keys} <= ExtractConfig.model_fields.keys()
        assert name in EncodersConfig.model_fields
        assert name in ColumnsConfig.model_fields
        assert callable(spec.decoder())
        assert spec.size_unit
        encoder, columns = EncoderSpec(encoder="tiny", reads="inputs"), spec.joined_columns()
        fitted = encoder if columns is None else columns.fit(encoder, ['{"age":"3"}'], {"age": "numeric"})
        assert spec.tiny_network(fitted).width == 128
        for module in (
            *spec.media_modules,
            *spec.signature_modules,
            *spec.tiny_modules,
            *spec.pretrained_modules,
            *spec.network_modules,
        ):
            assert find_spec(module) is not None, module
        assert (spec.near_duplicates() is None) == (not spec.signature_modules)
        if spec.borrowed_from is not None:
            lender, key = spec.borrowed_from
            assert lender in MODALITIES
            assert MediaConfig.model_fields[key].annotation is bool


def test_no_two_modalities_claim_a_column_or_a_suffix() -> None:
    for claims in ([s.columns for s in MODALITIES.values()], [s.suffixes for s in MODALITIES.values()]):
        flat = [each for claim in claims for each in claim]
        assert len(flat) == len(set(flat)) > 0


def test_an_unknown_modality_fails_with_the_names_that_there_are() -> None:
    with pytest.raises(KeyError, match="'smell' is no modality; there are image, text, audio, video, tabular"):
        MODALITIES["smell"]  # type: ignore[index]
    with pytest.raises(ValueError, match="names no input"):
        spec_of("smell")
    with pytest.raises(UsageError, match=r"encoders\.smell"):
        load_config({"encoders": {"smell": "tiny"}})


def test_a_family_that_cannot_read_a_modality_is_refused_in_the_config() -> None:
    with pytest.raises(UsageError, match="torchvision has no encoder of audio; use tiny, or hf:ID_OR_FOLDER"):
        load_config({"encoders": {"audio": "torchvision:resnet18"}})
