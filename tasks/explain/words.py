"""Texts as words, and which word each byte or token of an encoder is of. Imports no torch."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from tasks.modeling.encoder_spec import EncoderSpec

_WORDS = re.compile(
    r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]|[^\s\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]+"
)
"""What stands between spaces; of scripts that have none between words, a character."""
Span = tuple[int, int]
"""First character, and the one after the last."""


def split_words(text: str) -> list[Span]:
    """Where the words of a text are."""
    return [found.span() for found in _WORDS.finditer(text)]


def byte_words(text: str, count: int) -> tuple[list[str], list[int]]:
    """The words of a text of which an encoder reads the first `count` bytes, and the word of each byte, -1 between words.

    Words beyond those bytes are left out.
    """
    ends: list[int] = []
    for character in text:
        ends.append((ends[-1] if ends else 0) + len(character.encode("utf-8", "surrogatepass")))
    starts = [0, *ends[:-1]] if ends else []
    words: list[str] = []
    of_byte = [-1] * count
    for first, after in split_words(text):
        if starts[first] >= count:
            break
        of_byte[starts[first] : ends[after - 1]] = [len(words)] * (min(ends[after - 1], count) - starts[first])
        words.append(text[first:after])
    if not words:  # nothing but spaces
        return [text[:20]], [0] * count
    return words, of_byte[:count]


def token_words(text: str, ids: Sequence[int], spec: EncoderSpec) -> tuple[list[str], list[int]]:
    """The words of a text and the word of each of its tokens, -1 of tokens that stand for none; of a tokenizer that does not
    say where its tokens are, every token is a word."""
    tokenizer = _tokenizer(spec)
    encoded = None if tokenizer is None else tokenizer.encode(spec.prompt + text)
    if encoded is None or list(encoded.ids) != list(ids):
        return [f"token {number}" for number in range(1, len(ids) + 1)], list(range(len(ids)))
    spans = split_words(text)
    before = len(spec.prompt)
    found = [_word_at((first - before, after - before), spans) for first, after in encoded.offsets]
    if all(place < 0 for place in found):
        return [text[:20] or "(nothing)"], [0] * len(ids)
    last = max(found)
    return [text[first:after] for first, after in spans[: last + 1]], found


def _word_at(span: Span, words: Sequence[Span]) -> int:
    """The word in which a token begins, or which it overlaps first; -1 for one that covers nothing."""
    first, after = span
    if after <= first:
        return -1
    return next((place for place, (start, end) in enumerate(words) if start < after and first < end), -1)


def _tokenizer(spec: EncoderSpec) -> Any:
    """Where the encoder's tokenizer can say where tokens are: that of `tokenizers`, cut as the encoder reads it; else None."""
    from tokenizers import Tokenizer

    from tasks.modeling.card import read_beside, tokenizer_file
    from tasks.modeling.pretrained.describe import require_place
    from tasks.modeling.pretrained.packaged import package_folder
    from tasks.modeling.pretrained.tokenization import tokenizer_json

    folder = package_folder("text", spec.encoder)
    if folder is not None and spec.tokenizer_sha256 is not None:
        content: bytes | None = read_beside(folder, tokenizer_file(spec.tokenizer_sha256), spec.tokenizer_sha256)
    else:
        content = tokenizer_json(require_place("text", spec), spec)
    return None if content is None else Tokenizer.from_str(content.decode("utf-8"))
