"""By what near repeats of a text are found: its character 5-grams, and for 8 to 32 words all of them but one.

128 min-wise hashes of the 5-grams (Broder 1997, "On the resemblance and containment of documents"), 16 bits of each (Li &
König 2010, "b-Bit Minwise Hashing"); their share of equal ones estimates the Jaccard index and confirms a pair. Not under 32
characters, where one word is the difference that matters.

In a text of a few words, another one changes more than 15 % of the 5-grams. So texts are paired, too, that are equal but for
one word in one place (a hash of the others finds them, the hashes of the words confirm). Sentences from a template differ like
that on purpose: a word with a digit is no edit, and where the two agree with more than one further text in all words but one,
all are of a template. Whoever asks keeps those pairs to rows of one label: "really good" and "really bad" are no repeats.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Any

import numpy as np

from tasks.media.near_duplicates.candidates import Pairs, candidate_pairs, parts_of
from tasks.media.near_duplicates.signatures import Signature, Signatures

Array = np.ndarray[Any, Any]
TEXT_CHARS = 32
_SHINGLE, _HASHES, _BAND = 5, 128, 4
_OVERLAP = 0.85
_CHARS_AT_ONCE = 1 << 15
"""Of texts that are signed together: their grams stay in the cache while one hash function after another goes through them."""
_FEWEST_WORDS, _MOST_WORDS = 8, 32
"""One word of more is so little of the 5-grams that those find it."""
_OTHERS = 3
"""That the two of a pair agree with in all words but one, each other included: a text may have two edited copies."""
_WORDS = re.compile(r"\w+")
_DIGIT, _WORD = 1, 2
"""Bits of a word's hash: it has a digit; there is a word."""


@cache
def _factors() -> tuple[Array, Array]:
    """(128,) odd multipliers and (128,) offsets of the hash functions."""
    draw = np.random.default_rng(20).integers(0, 2**63, (2, _HASHES), dtype=np.uint64)
    return draw[0] | np.uint64(1), draw[1]


def sign_text(text: str) -> Signature | None:
    """Case and white space do not count; None under 32 characters. uint16 (128,) and uint32 (32,), 384 bytes."""
    return sign_texts([text])[0]


def sign_texts(texts: Sequence[str]) -> list[Signature | None]:
    """As sign_text of each: many at once, as a call of numpy costs more than the few grams of a sentence."""
    plain = [" ".join(text.casefold().split()) for text in texts]
    found: list[Signature | None] = []
    start = chars = 0
    for end, text in enumerate(plain, start=1):
        chars += len(text)
        if chars >= _CHARS_AT_ONCE or end == len(plain):
            found += _sign(plain[start:end])
            start, chars = end, 0
    return found


def _sign(plain: Sequence[str]) -> list[Signature | None]:
    long = [text for text in plain if len(text) >= TEXT_CHARS]
    if not long:
        return [None] * len(plain)
    lowest, words = iter(_lowest(long)), map(_hash_words, long)
    return [
        Signature(b"", next(lowest).tobytes() + next(words).tobytes()) if len(text) >= TEXT_CHARS else None
        for text in plain
    ]


def _lowest(texts: Sequence[str]) -> Array:
    """uint16 (N, 128): of the smallest of multiply x gram + add (mod 2^64) in a text, bits 32 to 47, per hash function."""
    letters = np.frombuffer("".join(texts).encode("utf-32-le"), "<u4").astype(np.uint64)
    grams = np.zeros(len(letters) - _SHINGLE + 1, np.uint64)
    for place in range(_SHINGLE):
        grams = grams * np.uint64(0x9E3779B97F4A7C15) + letters[place : len(grams) + place]
    grams ^= grams >> np.uint64(29)
    sizes = np.array([len(text) - _SHINGLE + 1 for text in texts])
    over_ends = np.repeat(np.arange(len(texts)) * (_SHINGLE - 1), sizes)
    grams, starts = grams[np.arange(len(over_ends)) + over_ends], np.cumsum(sizes) - sizes
    hashed, lowest = np.empty_like(grams), np.empty((_HASHES, len(texts)), np.uint64)
    for least, multiply, add in zip(lowest, *_factors(), strict=True):
        np.multiply(grams, multiply, out=hashed)
        np.add(hashed, add, out=hashed)
        np.minimum.reduceat(hashed, starts, out=least)
    return (lowest.T >> np.uint64(32) & np.uint64(0xFFFF)).astype("<u2")


def _hash_words(plain: str) -> Array:
    """uint32 (32,): of every word, without punctuation, and 0 after the last; all 0 for too few or too many."""
    words = _WORDS.findall(plain)
    hashes = np.zeros(_MOST_WORDS, "<u4")
    if _FEWEST_WORDS <= len(words) <= _MOST_WORDS:
        hashes[: len(words)] = list(map(_hash_word, words))
    return hashes


@lru_cache(1 << 16)
def _hash_word(word: str) -> int:
    return zlib.crc32(word.encode()) & ~3 | _WORD | (_DIGIT if any(map(str.isdigit, word)) else 0)


def match_texts(signatures: Signatures) -> Pairs:
    """Pairs of texts whose sets of 5-grams overlap by an estimated 85 %."""
    hashes = signatures.forms[:, : 2 * _HASHES].view("<u2")
    bands = signatures.forms[:, : 2 * _HASHES].view("<u8")
    pairs = candidate_pairs(bands.T, hashes[:, 0])
    kept = [(hashes[part[:, 0]] == hashes[part[:, 1]]).mean(axis=1) >= _OVERLAP for part in parts_of(pairs)]
    return pairs[np.concatenate(kept)] if kept else pairs


def match_all_but_one_word(signatures: Signatures) -> Pairs:
    """Pairs of texts of 8 to 32 words that differ in one, which has no digit in either; none of a template."""
    words = signatures.forms[:, 2 * _HASHES :].view("<u4")
    factors = np.random.default_rng(22).integers(0, 2**63, _MOST_WORDS, dtype=np.uint64) | np.uint64(1)
    totals = np.zeros(len(words), np.uint64)
    for place, factor in enumerate(factors):
        totals += words[:, place] * factor
    texts = np.unique(totals, return_index=True)[1]  # in the same words, the 5-grams find them
    texts = texts[words[texts, 0] > 0]
    others, found = np.zeros(len(words), np.int64), [np.empty((0, 2), np.int64)]
    for place, factor in enumerate(factors):
        texts = texts[words[texts, place] > 0]
        keys = totals[texts] - words[texts, place] * factor
        order = np.argsort(keys, kind="stable")
        firsts = np.flatnonzero(np.diff(keys[order], prepend=keys[order][:1] - np.uint64(1)))
        sizes = np.diff(firsts, append=len(order))
        others[texts[order]] += np.repeat(sizes, sizes) - 1
        runs = firsts[sizes == 2]  # of three, each would have two others
        pairs = np.stack([texts[order[runs]], texts[order[runs + 1]]], axis=1)
        found.append(pairs[~(words[pairs, place] & _DIGIT).any(axis=1)])
    pairs = np.sort(np.concatenate(found), axis=1)
    differing = [(words[part[:, 0]] != words[part[:, 1]]).sum(axis=1) == 1 for part in parts_of(pairs)]
    confirmed = pairs[np.concatenate([np.empty(0, bool), *differing])]
    return np.unique(confirmed[others[confirmed].sum(axis=1) <= _OTHERS], axis=0)
