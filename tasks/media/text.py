"""Text: UTF-8, or what is detected with confidence, becomes NFC, without control or bidirectional-override characters."""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Mapping
from typing import Any

from tasks.media.canonical import Canonical, Undecodable

# C0 and C1 controls but tab and line ends, the byte-order mark, and the bidirectional overrides of Unicode TR 36.
_STRIPPED = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")
_INVISIBLE = " \t\r\n\u00a0\u00ad\u200b\u200c\u200d\u2060"
"""What may stand within words and shows nothing by itself."""
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""Byte-order marks, the longer ones first: FF FE begins two of them."""
_MESS = 0.05
"""charset-normalizer's share of improbable characters above which a reading counts for nothing."""
_COHERENT = 0.10
"""Its share of characters that fit a language; below, or under _MIN_BYTES bytes, a detection is a guess, and refused."""
_MIN_BYTES = 32
_AS_GOOD = 0.01  # readings that differ by less are equally likely, and Windows-1252, the commonest, goes first
_SAMPLE_BYTES = 64 << 10


def decode_text(data: bytes, limits: Mapping[str, Any]) -> Canonical:
    """The text as UTF-8 bytes of its cleaned form; shape is (characters,).

    UTF-8, UTF-16 and UTF-32 with their mark, else the encoding that charset-normalizer finds, which the warning names. A
    wrong reading would be a wrong sample, so a doubtful one is refused. Raises Undecodable: `unreadable-text` (no encoding
    is certain, or a NUL in it), `empty-text`.
    """
    text, note = _read(data)
    if "\x00" in text:
        raise Undecodable("unreadable-text", "contains NUL")
    cleaned, stripped = _STRIPPED.subn("", text)
    cleaned = unicodedata.normalize("NFC", cleaned).strip()
    if not cleaned.strip(_INVISIBLE):
        raise Undecodable("empty-text", "nothing but white space and control characters")
    limit = int(limits["max_text_chars"])
    notes = [note] if note else []
    if stripped:
        notes.append(f"{stripped} control characters stripped")
    if len(cleaned) > limit:
        notes.append(f"cut to {limit} of {len(cleaned)} characters")
        cleaned = cleaned[:limit]
    return Canonical((len(cleaned),), cleaned.encode("utf-8"), None, "; ".join(notes) or None)


def _read(data: bytes) -> tuple[str, str | None]:
    """The characters, and a note where they are not UTF-8."""
    marked = next((name for mark, name in _MARKS if data.startswith(mark)), None)
    try:
        return data.decode(marked or "utf-8"), f"not UTF-8, read as {marked} (by its mark)" if marked else None
    except UnicodeDecodeError as error:
        refusal = f"not {marked or 'utf-8'} at byte {error.start}"
    found = None if marked else _detect(data)
    if found is None:
        raise Undecodable("unreadable-text", f"{refusal}, and no other encoding is certain; save it as UTF-8")
    encoding, coherence = found
    try:
        return data.decode(encoding), f"not UTF-8, read as {encoding} (detected, coherence {coherence:.1f})"
    except UnicodeDecodeError as error:
        raise Undecodable(
            "unreadable-text", f"{refusal}, nor {encoding} at byte {error.start}; save it as UTF-8"
        ) from None


def _detect(data: bytes) -> tuple[str, float] | None:
    """The encoding that makes a language of the bytes, and what share fits that language; None where nothing is sure."""
    from charset_normalizer import from_bytes

    sample = data[:_SAMPLE_BYTES]
    if len(sample) < len(data):
        sample = sample[: sample.rfind(b"\n") + 1] or sample  # a character cut in two would speak against its encoding
    if len(sample) < _MIN_BYTES:
        return None
    matches = from_bytes(sample)
    best = matches.best()
    if best is None or best.chaos > _MESS or best.coherence < _COHERENT:
        return None
    as_good = [
        match.encoding
        for match in matches
        if match.chaos <= best.chaos + _AS_GOOD and match.coherence >= best.coherence - _AS_GOOD
    ]
    return "cp1252" if "cp1252" in as_good else best.encoding, best.coherence
