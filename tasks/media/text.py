"""Text: strict UTF-8 becomes NFC, without control or bidirectional-override characters, of a bounded length."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

from tasks.media.canonical import Canonical, Undecodable

# C0 and C1 controls but tab and line ends, the byte-order mark, and the bidirectional overrides of Unicode TR 36.
_STRIPPED = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")


def decode_text(data: bytes, limits: Mapping[str, Any]) -> Canonical:
    """The text as UTF-8 bytes of its cleaned form; shape is (characters,).

    Raises Undecodable: `unreadable-text` (not UTF-8, or a NUL in it), `empty-text`.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Undecodable("unreadable-text", str(error)) from None
    if "\x00" in text:
        raise Undecodable("unreadable-text", "contains NUL")
    cleaned, stripped = _STRIPPED.subn("", text)
    cleaned = unicodedata.normalize("NFC", cleaned).strip()
    if not cleaned:
        raise Undecodable("empty-text", "nothing but white space and control characters")
    limit = int(limits["max_text_chars"])
    notes = [f"{stripped} control characters stripped"] if stripped else []
    if len(cleaned) > limit:
        notes.append(f"cut to {limit} of {len(cleaned)} characters")
        cleaned = cleaned[:limit]
    return Canonical((len(cleaned),), cleaned.encode("utf-8"), None, "; ".join(notes) or None)
