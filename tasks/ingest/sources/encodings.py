"""Which characters the bytes of a text table stand for: UTF-8, UTF-16 with its mark, else what is detected, or nothing."""

from __future__ import annotations

import codecs
import re

_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_CANDIDATES = ("cp1252", "cp1250", "cp1251", "cp1253", "koi8_r", "cp932", "euc_jp", "gb18030", "big5", "cp949")
"""What spreadsheets and old systems write. Rare relatives are left out: they win on short texts, and are wrong."""
_MESS = 0.2
"""charset-normalizer's share of improbable characters above which a reading is no reading."""
_CLEARLY = 0.02  # two readings that differ by less in mess are equally likely, and the commoner one counts
_EVIDENCE = 10
"""Bytes beyond ASCII that it takes to believe in anything but the commonest encoding."""
_SAMPLE_BYTES = 64 << 10
_NOT_TEXT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


class NotText(Exception):
    """Bytes that are no text in any encoding that can be told with confidence."""


def decode_table(data: bytes) -> tuple[str, str | None]:
    """The text, and a note where its encoding had to be guessed. Raises NotText.

    A byte-order mark counts; without one, valid UTF-8 is UTF-8. Anything else is detected on the lines that are not
    ASCII, and must then decode in full and hold no control characters.
    """
    named = next((name for mark, name in _MARKS if data.startswith(mark)), None)
    try:
        return data.decode(named or "utf-8"), None
    except UnicodeDecodeError as error:
        if named is not None:
            raise NotText(f"not {named.upper()} at byte {error.start}, though it begins with its mark") from None
        start = error.start
    encoding = _detect(data)
    if encoding is None:
        raise NotText(f"not UTF-8 at byte {start}, and no other encoding fits with confidence; save it as UTF-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise NotText(f"not UTF-8 at byte {start}, nor {encoding} at byte {error.start}; save it as UTF-8") from None
    if _NOT_TEXT.search(text):
        raise NotText(f"not UTF-8 at byte {start}, and control characters in it; save it as UTF-8")
    return text, f"is not UTF-8 and was read as {encoding}, which was detected; save it as UTF-8 to be sure"


def _detect(data: bytes) -> str | None:
    """The encoding that fits best, None when none fits well; of equally good ones the commonest."""
    from charset_normalizer import from_bytes

    sample = _sample(data)
    found = from_bytes(sample, cp_isolation=list(_CANDIDATES))  # readings that differ; each may have many names
    named = {name: match.chaos for match in found for name in match.could_be_from_charset}
    fitting = {name: mess for name, mess in named.items() if mess < _MESS and name in _CANDIDATES}
    if not fitting:
        return None
    least = min(fitting.values())
    best = next(name for name in _CANDIDATES if name in fitting and fitting[name] <= least + _CLEARLY)
    enough = best == _CANDIDATES[0] or sum(byte > 127 for byte in sample) >= _EVIDENCE
    return best if enough else None


def _sample(data: bytes) -> bytes:
    """The lines that tell: those with a byte beyond ASCII, up to a bound."""
    lines, size = [], 0
    for line in data.splitlines(keepends=True):
        if not line.isascii():
            lines.append(line)
            size += len(line)
            if size >= _SAMPLE_BYTES:
                break
    return b"".join(lines)
