"""Texts into token ids, by the encoder's own tokenizer: from its files, or from the one JSON file that goes with a model.

The JSON is that of the `tokenizers` library: vocabulary, rules and the length at which it cuts. It names no other file and no
code. transformers is needed only to read the many forms in which tokenizers are published.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tasks.errors import DataError, UsageError
from tasks.modeling.card import read_beside, tokenizer_file
from tasks.modeling.encoder_spec import EncoderSpec
from tasks.modeling.pretrained.locate import Place

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Tokenize = Callable[[str], NDArray[np.int32]]
"""A text -> its token ids (L,), at least one; safe among threads."""


def packaged_tokenizer(folder: Path, spec: EncoderSpec, most: int) -> Tokenize:
    """What cuts texts as the model in `folder` was trained to read them, at most `most` tokens each.

    Raises EnvironmentFailed where the model's tokenizer file is gone, DataError where it is not what the card says.
    """
    from tokenizers import Tokenizer

    assert spec.tokenizer_sha256 is not None  # else the model has no file of it
    content = read_beside(folder, tokenizer_file(spec.tokenizer_sha256), spec.tokenizer_sha256)
    try:
        tokenizer = Tokenizer.from_str(content.decode("utf-8"))
    except Exception as error:  # noqa: BLE001 (tokenizers raises nothing narrower)
        message = " ".join(str(error).split())[:200]
        raise DataError(f"model {folder}: its tokenizer is damaged ({message}); train again") from None
    return _cutter(tokenizer, most, spec)


def tokenizer_of(place: Place, spec: EncoderSpec, most: int) -> Tokenize:
    """The same from an encoder's own files."""
    loaded = load_tokenizer(spec.encoder, place)
    portable = _portable(loaded, spec)
    if portable is not None:
        return _cutter(portable, most, spec)
    limit = min(most, int(loaded.model_max_length), _positions(spec.settings["config"]))
    turn = threading.Lock()  # it keeps the length inside, and refuses to be used twice at a time

    def tokenize(text: str) -> NDArray[np.int32]:
        """(L,) the ids of a text's tokens, at least one, at most the limit. Threads may call it."""
        with turn:
            ids = loaded(text, truncation=True, max_length=limit)["input_ids"]
        return _at_least_one(ids, spec)

    return tokenize


def tokenizer_json(place: Place, spec: EncoderSpec) -> bytes | None:
    """The tokenizer as it goes with a model; None for the few that JSON does not hold whole: those without a fast form."""
    portable = _portable(load_tokenizer(spec.encoder, place), spec)
    return None if portable is None else portable.to_str().encode("utf-8")


def tokenizer_digest(place: Place, spec: EncoderSpec) -> str | None:
    """The sha256 of that JSON."""
    content = tokenizer_json(place, spec)
    return None if content is None else hashlib.sha256(content).hexdigest()


def load_tokenizer(encoder: str, place: Place) -> Any:
    """The tokenizer as transformers reads it. UsageError where the folder has none that it can read."""
    try:
        loaded = _load(place)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ImportError) as error:
        message = " ".join(str(error).split())[:200]
        raise UsageError(f"encoder {encoder}: no tokenizer that can be read in its folder ({message})") from None
    if len(loaded) <= len(loaded.all_special_tokens):  # transformers makes up an empty one, which reads all words alike
        raise UsageError(f"encoder {encoder}: no tokenizer in its folder, or one without a word; put its files there")
    return loaded


def _load(place: Place) -> Any:
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    try:
        return AutoTokenizer.from_pretrained(place.root, **local)
    except ImportError:  # its class is made of sentencepiece, even where the folder has what `tokenizers` reads
        if not (place.root / "tokenizer.json").is_file():
            raise
        return PreTrainedTokenizerFast.from_pretrained(place.root, **local)


def _portable(loaded: Any, spec: EncoderSpec) -> Tokenizer | None:
    if not loaded.is_fast or loaded.split_special_tokens:
        return None
    tokenizer: Tokenizer = loaded.backend_tokenizer
    longest = min(int(loaded.model_max_length), _positions(spec.settings["config"]))
    tokenizer.enable_truncation(longest, direction=loaded.truncation_side)
    tokenizer.no_padding()
    return tokenizer


def _cutter(tokenizer: Tokenizer, most: int, spec: EncoderSpec) -> Tokenize:
    own = tokenizer.truncation or {}
    longest, side = int(own.get("max_length", most)), str(own.get("direction", "right"))
    tokenizer.enable_truncation(min(most, longest), direction=side)
    return lambda text: _at_least_one(tokenizer.encode(text).ids, spec)


def _at_least_one(ids: list[int], spec: EncoderSpec) -> NDArray[np.int32]:
    return np.asarray(ids or [int(spec.settings["config"].get("pad_token_id") or 0)], np.int32)


def _positions(config: dict[str, Any]) -> int:
    """How many tokens a network has positions for; RoBERTa begins to count after its padding token's id."""
    most = int(config.get("max_position_embeddings") or 1 << 30)
    offset = int(config.get("pad_token_id") or 0) + 1 if "roberta" in str(config.get("model_type")) else 0
    return most - offset
