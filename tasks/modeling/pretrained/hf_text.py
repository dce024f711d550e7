"""Encoders of text from transformers: token ids in; out the mean over the real ones, or what the model was trained to give."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoModel, CLIPTextModel, PreTrainedModel, Siglip2TextModel, SiglipTextModel

from tasks.errors import UsageError
from tasks.modeling.pretrained.adapter import Settings, inside, mean_of
from tasks.modeling.pretrained.locate import Place
from tasks.modeling.pretrained.tokenization import load_tokenizer
from tasks.modeling.pretrained.transformers_models import Transformer, portable, processor_of, read_config

_POOLING_FILE = "1_Pooling/config.json"
_POOLINGS = ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")
"""As sentence-transformers names them since 5.4; before, each was a flag of its own, and these are their names' parts."""
_FLAG = "pooling_mode_"
_FLAGS = {"cls_token": "cls", "max_tokens": "max", "mean_tokens": "mean", "weightedmean_tokens": "weightedmean"}
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
    _, pooling = _TOWERS.get(config.model_type, (None, _own_pooling(encoder, place)))
    settings = {"adapter": "hf-text", "config": portable(config), "pooling": pooling, **_own_prompt(encoder, place)}
    if pooling != "padded end":
        return settings
    pad_token_id = load_tokenizer(encoder, place).pad_token_id  # the configs of SigLIP 2 name another one
    if pad_token_id is None:
        raise UsageError(f"encoder {encoder}: its tokenizer has no padding token, which {config.model_type} reads")
    return settings | {"pad_token_id": int(pad_token_id)}


def _own_pooling(encoder: str, place: Place) -> str:
    """Of a folder of sentence-transformers; else the mean. UsageError where several are joined, or for another one."""
    record = processor_of(place, _POOLING_FILE)
    flags = [key.removeprefix(_FLAG) for key, value in record.items() if key.startswith(_FLAG) and value is True]
    named = record.get("pooling_mode") or [_FLAGS.get(flag, flag) for flag in flags] or "mean"
    modes = [named] if isinstance(named, str) else list(named)
    if len(modes) != 1 or modes[0] not in _POOLINGS:
        raise UsageError(
            f"encoder {encoder}: {_POOLING_FILE} asks for {', '.join(map(str, modes))}; one of {', '.join(_POOLINGS)} is read"
        )
    return str(modes[0])


def _own_prompt(encoder: str, place: Place) -> Settings:
    """What a model of sentence-transformers wants before each text: for classification, else by default; most want nothing."""
    record = processor_of(place, "config_sentence_transformers.json")
    prompts = {str(name).lower(): prompt for name, prompt in dict(record.get("prompts") or {}).items()}
    prompt = prompts.get("classification") or prompts.get(str(record.get("default_prompt_name")).lower())
    if not prompt:
        return {}
    if processor_of(place, _POOLING_FILE).get("include_prompt") is False:
        raise UsageError(f"encoder {encoder}: leaves its prompt out of the pooling, which is not read here")
    return {"prompt": str(prompt)}


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
        network: Any = AutoModel.from_config(config, trust_remote_code=False)
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
        return self.joined(_pool(self.pooling, output.last_hidden_state, mask, lengths), mask)


def _pool(mode: str, hidden: Tensor, mask: Tensor, lengths: Tensor) -> Tensor:
    """(B, L, D), (B, L) True where real, (B,) -> (B, D), as sentence-transformers pools."""
    if mode == "cls":
        return hidden[:, 0]
    if mode == "lasttoken":
        return hidden[torch.arange(len(hidden), device=hidden.device), lengths - 1]
    if mode == "max":
        return hidden.masked_fill(~mask.unsqueeze(2), -torch.inf).amax(dim=1)
    if mode == "weightedmean":
        return mean_of(hidden, mask * torch.arange(1, mask.shape[1] + 1, device=mask.device))
    mean = mean_of(hidden, mask)
    return mean if mode == "mean" else mean * lengths.clamp(min=1).sqrt().unsqueeze(1).to(mean.dtype)


def _token_embedding(network: Any) -> Any:
    try:
        return network.get_input_embeddings()
    except NotImplementedError:  # what transformers says of a network of sound
        return None
