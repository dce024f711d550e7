"""What a model's card says of each of its encoders. Imports no torch."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from data_contracts.refs import Frozen, Sha256
from tasks.encoder_ids import Layers, Reads


class EncoderSpec(Frozen):
    """All that is needed to build an encoder's network without its weights at hand."""

    encoder: str
    """The id, as in the config."""
    reads: Reads
    """embedding: the frozen encoder's output, computed by extract; its weights are not the model's. inputs: they are."""
    width: int | None = None
    """Length of the embedding; None where the network itself says."""
    weights_sha256: Sha256 | None = None
    """Digest of the pretrained weights, and of all beside them that shapes the output; None for a network from scratch."""
    inputs_sha256: Sha256 | None = None
    """hf: digest of the configs and the tokenizer it came with."""
    model_type: str | None = None
    """hf: what the config.json it came with calls the architecture."""
    tokenizer_sha256: Sha256 | None = None
    """Digest of the file beside the model that cuts texts into its tokens; None where there is none."""
    layers: Layers = Field(default="last", exclude_if=lambda layers: layers == "last")
    """Of a frozen encoder: which of them are read."""
    test_time_flip: bool = Field(default=False, exclude_if=lambda flips: not flips)
    """Of pictures and frames: whether rows are answered by the mean of its vectors of a picture and of its mirror image. The
    encoder of an embedding gives that mean itself; one that is part of the model looks twice outside training."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """What else the network is built from: the side of the picture, a transformers config."""

    @property
    def prompt(self) -> str:
        """What the network reads before each text; most read nothing."""
        return str(self.settings.get("prompt", ""))
