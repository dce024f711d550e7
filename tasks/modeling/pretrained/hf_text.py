"""Encoders of text from transformers: token ids in; out the mean over the real ones, or what the model was trained to give."""

from __future__ import annotations

from typing import Any, cast

from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoModel, CLIPTextModel, PreTrainedModel, Siglip2TextModel, SiglipTextModel

from tasks.errors import UsageError
from tasks.modeling.pretrained.adapter import Settings, inside, mean_of
from tasks.modeling.pretrained.locate import Place
from tasks.modeling.pretrained.tokenization import load_tokenizer
from tasks.modeling.pretrained.transformers_models import Transformer, portable, processor_of, read_config

_TOWERS = {
    "clip_text_model": (CLIPTextModel, "end"),
    "siglip_text_model": (SiglipTextModel, "padded end"),
    "siglip2_text_model": (Siglip2TextModel, "padded end"),
}
"""Towers of text, and what stands for a text: the token that ends it; the last one, after padding up to the last position, on
which SigLIP was trained (its processor pads so, and masks nothing)."""


def text_settings(encoder: str, place: Place) -> Settings:
    """Config and pooling. A folder of sentence-transformers says its pooling itself; else it is the mean."""
    config = read_config(encoder, place)
    config = getattr(config, "text_config", config)
    if config.is_encoder_decoder:
        raise UsageError(
            f"encoder {encoder}: {config.model_type} needs a decoder to be read; use an encoder, as BERT is"
        )
    first = processor_of(place, "1_Pooling/config.json").get("pooling_mode_cls_token")
    _, pooling = _TOWERS.get(config.model_type, (None, "first" if first else "mean"))
    settings = {"adapter": "hf-text", "config": portable(config), "pooling": pooling}
    if pooling != "padded end":
        return settings
    pad_token_id = load_tokenizer(encoder, place).pad_token_id  # the configs of SigLIP 2 name another one
    if pad_token_id is None:
        raise UsageError(f"encoder {encoder}: its tokenizer has no padding token, which {config.model_type} reads")
    return settings | {"pad_token_id": int(pad_token_id)}


class Text(Transformer):
    """BERT and its relatives, and the towers of text of CLIP and SigLIP."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.pooling = settings["pooling"]
        if not isinstance(_token_embedding(self.network), nn.Embedding):
            raise ValueError(f"{self.network.config.model_type} reads no text")
        self.pad_token_id = int(settings.get("pad_token_id", self.network.config.pad_token_id or 0))
        if self.pooling == "padded end":
            self.width = int(self.network.config.projection_size)

    def make(self, config: Any) -> PreTrainedModel:
        """The network without a pooler: it is trained for another task, and left untrained by many."""
        tower, _ = _TOWERS.get(config.model_type, (None, ""))
        if tower is not None:
            return cast(PreTrainedModel, tower(config))
        network: Any = AutoModel.from_config(config, trust_remote_code=False)  # type: ignore[no-untyped-call]
        if getattr(network, "pooler", None) is not None:
            network.pooler = None
        return cast(PreTrainedModel, network)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(B, L) token ids, (B,) tokens -> (B, width)."""
        mask = inside(lengths, x.shape[1])
        tokens = x.masked_fill(~mask, self.pad_token_id)
        if self.pooling == "padded end":
            places = int(self.network.config.max_position_embeddings)
            padded = functional.pad(tokens, (0, max(0, places - x.shape[1])), value=self.pad_token_id)
            pooled: Tensor = self.network(input_ids=padded).pooler_output
            return self.joined(pooled)
        output = self.network(input_ids=tokens, attention_mask=mask.long())
        if self.pooling == "end":
            ended: Tensor = output.pooler_output
            return self.joined(ended, mask)
        hidden: Tensor = output.last_hidden_state
        return self.joined(hidden[:, 0] if self.pooling == "first" else mean_of(hidden, mask), mask)


def _token_embedding(network: Any) -> Any:
    try:
        return network.get_input_embeddings()
    except NotImplementedError:  # what transformers says of a network of sound
        return None
