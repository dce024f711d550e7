"""Encoders of text from transformers: token ids in; out the mean over the real ones, or what the model was trained to give."""

from __future__ import annotations

from typing import Any, cast

from torch import Tensor
from transformers import AutoModel, CLIPTextModel, PreTrainedModel

from tasks.errors import UsageError
from tasks.modeling.pretrained.adapter import Settings, inside, mean_of
from tasks.modeling.pretrained.locate import Place
from tasks.modeling.pretrained.transformers_models import Transformer, portable, processor_of, read_config

_END_TOKEN = ("clip_text_model",)
"""Networks whose pooler gives the token that ends the text, on which they were trained."""


def text_settings(encoder: str, place: Place) -> Settings:
    """Config and pooling. A folder of sentence-transformers says its pooling itself; else it is the mean."""
    config = read_config(encoder, place)
    if config.model_type == "clip":
        config = config.text_config
    if config.is_encoder_decoder:
        raise UsageError(
            f"encoder {encoder}: {config.model_type} needs a decoder to be read; use an encoder, as BERT is"
        )
    first = processor_of(place, "1_Pooling/config.json").get("pooling_mode_cls_token")
    pooling = "end" if config.model_type in _END_TOKEN else "first" if first else "mean"
    return {"adapter": "hf-text", "config": portable(config), "pooling": pooling}


class Text(Transformer):
    """BERT and its relatives, and CLIP's tower of text."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.pooling = settings["pooling"]

    def make(self, config: Any) -> PreTrainedModel:
        """The network without a pooler: it is trained for another task, and left untrained by many."""
        if config.model_type in _END_TOKEN:
            return CLIPTextModel(config)
        network: Any = AutoModel.from_config(config, trust_remote_code=False)  # type: ignore[no-untyped-call]
        if getattr(network, "pooler", None) is not None:
            network.pooler = None
        return cast(PreTrainedModel, network)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(B, L) token ids, (B,) tokens -> (B, width)."""
        mask = inside(lengths, x.shape[1])
        tokens = x.masked_fill(~mask, self.network.config.pad_token_id or 0)
        output = self.network(input_ids=tokens, attention_mask=mask.long())
        if self.pooling == "end":
            ended: Tensor = output.pooler_output
            return ended
        hidden: Tensor = output.last_hidden_state
        return hidden[:, 0] if self.pooling == "first" else mean_of(hidden, mask)
