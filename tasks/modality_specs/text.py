"""Texts: NFC, without control characters."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from data_contracts.expectations.features import FeatureSpec
from data_contracts.refs import InputName
from tasks.modalities import Decode, Medium, ModalitySpec, NearDuplicates, Params, Prepare, PresetEncoder

if TYPE_CHECKING:
    import numpy as np
    import torch

    from tasks.config import RunConfig, TrainConfig
    from tasks.media.thumbnails import Picture
    from tasks.modeling.encoder_base import Encoder
    from tasks.modeling.encoder_spec import EncoderSpec
    from tasks.modeling.fusion.classifier import Present
    from tasks.modeling.pretrained.adapter import Settings
    from tasks.modeling.pretrained.locate import Place


class Text(ModalitySpec):
    """Descriptions, reviews, transcripts: in the cell, or in a file."""

    name = "text"
    columns = ("text", "text_path")
    suffixes = (".txt",)
    values_help = "a text, bytes, or a pathlib.Path"
    media_keys = ("max_text_chars", "max_file_mb")
    media_modules = ("tasks.media.text",)
    libraries = ("charset-normalizer",)
    signature_modules = ("tasks.media.near_duplicates.texts",)
    statistics_modules = ()
    size_unit = "characters"
    measures = MappingProxyType({"length": "characters"})
    corruptions = ("typos",)
    families = ("hf", "st")
    presets = MappingProxyType(
        {
            "fast": PresetEncoder("st:all-MiniLM-L6-v2", "Apache-2.0", 22.7),
            "medium": PresetEncoder("hf:BAAI/bge-base-en-v1.5", "MIT", 109.5),
            "best": PresetEncoder("hf:BAAI/bge-large-en-v1.5", "MIT", 335.1),
        }
    )
    tiny_keys = ("max_text_bytes",)
    pretrained_keys = ("max_tokens",)
    pretrained_modules = ()
    pretrained_dtype = "int32"
    has_tokens = True
    classical_scaling = 0.5
    varies_in_length = True
    batch_rows = 32

    def encode(self, value: object) -> bytes | None:
        """UTF-8."""
        return value.encode("utf-8", "surrogatepass") if isinstance(value, str) else None

    def example(self) -> object:
        """A letter."""
        return "a"

    def sample(self, number: int) -> str:
        """A sentence that nobody wrote."""
        return f"this is example number {number}"

    def decoder(self) -> Decode:
        """UTF-8, or what is detected with confidence."""
        from tasks.media.text import decode_text

        return decode_text

    def restore(self, data: bytes, shape: Sequence[int]) -> str:
        """The text itself."""
        return str(data, "utf-8")

    def size(self, shape: Sequence[int], rate_hz: int) -> float:
        """Characters."""
        return float(shape[0])

    def measure(self, medium: Medium, rate_hz: int) -> dict[str, float]:
        """Its length."""
        return {"length": float(len(medium))}

    def thumbnail(self, medium: Medium, rate_hz: int) -> Picture:
        """Its start."""
        from tasks.media.thumbnails import draw_text

        return {"text": draw_text(medium)}

    def near_duplicates(self) -> NearDuplicates:
        """Min-wise hashes of character 5-grams; of a few words, all but one."""
        from tasks.media.near_duplicates.texts import match_all_but_one_word, match_texts, sign_text, sign_texts

        return NearDuplicates(
            0.1,
            lambda text, rate_hz: sign_text(text),
            lambda signatures, read: match_texts(signatures),
            match_all_but_one_word,
            sign_many=sign_texts,
        )

    def corrupt(self, medium: Medium, rate_hz: int, name: str, severity: int, rng: np.random.Generator) -> str:
        """With typing errors."""
        from tasks.media.corruptions import mistype

        return mistype(medium, severity, rng)

    def prepare_tiny(self, params: Params) -> Prepare:
        """Its first bytes."""
        from tasks.media.encoder_inputs import text_bytes

        return lambda text, rate_hz: text_bytes(text, rate_hz, params)

    def prepare_pretrained(self, spec: EncoderSpec, params: Params) -> Prepare:
        """int32 (L,): the ids that the encoder's own tokenizer gives of its prompt and the text, at most `max_tokens` and what
        the network can place."""
        from tasks.modeling.pretrained.describe import require_place
        from tasks.modeling.pretrained.packaged import package_folder
        from tasks.modeling.pretrained.tokenization import packaged_tokenizer, tokenizer_of

        most, folder = int(params["max_tokens"]), package_folder(self.name, spec.encoder)
        if folder is None or spec.tokenizer_sha256 is None:
            tokenize = tokenizer_of(require_place(self.name, spec), spec, most)
        else:
            tokenize = packaged_tokenizer(folder, spec, most)
        return lambda text, rate_hz: tokenize(spec.prompt + text)

    def tiny_features(self, name: InputName, config: RunConfig) -> FeatureSpec:
        """Bytes; a text of one letter is constant."""
        return FeatureSpec(name, "uint8", r"^\d+$", config.extract.max_text_bytes, 0, 255, may_be_constant=True)

    def pretrained_features(self, name: InputName, spec: EncoderSpec, config: RunConfig) -> FeatureSpec:
        """Tokens."""
        return FeatureSpec(name, "int32", r"^\d+$", config.extract.max_tokens, 0, 2**31 - 1, may_be_constant=True)

    def tiny_network(self, spec: EncoderSpec) -> Encoder:
        """Convolutions over bytes."""
        from tasks.modeling.encoders import TinyText

        return TinyText()

    def classical_network(self) -> Encoder:
        """Words and n-grams of characters."""
        from tasks.modeling.classical import ClassicalText

        return ClassicalText()

    def pretrained_settings(self, encoder: str, place: Place) -> Settings:
        """Of transformers' text models."""
        from tasks.modeling.pretrained.hf_text import text_settings

        return text_settings(encoder, place)

    def augment(self, part: Present, spec: EncoderSpec, config: TrainConfig, generator: torch.Generator) -> Present:
        """Some bytes hidden; the tokens of a pretrained tokenizer stay."""
        from tasks.modeling.augment import hide_bytes

        return part._replace(values=hide_bytes(part, generator)) if spec.encoder == "tiny" else part


SPEC = Text()
