"""Which characters the bytes of a text table stand for: UTF-8, UTF-16 with its mark, else what is detected, or nothing."""

from __future__ import annotations

import codecs
import itertools
import re
from collections.abc import Callable, Iterator

_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_ASIAN = ("cp932", "euc_jp", "gb18030", "big5", "cp949")
"""Of several bytes a character, so that few bytes decode by chance."""
_CANDIDATES = ("cp1252", "cp1250", "cp1251", "cp1253", "koi8_r", "cp1256", *_ASIAN)
"""What spreadsheets and old systems write. Rare relatives are left out: they win on short texts, and are wrong."""
_MESS = 0.2
"""charset-normalizer's share of improbable characters above which a reading is no reading."""
_CLEARLY = 0.02  # two readings that differ by less in mess are equally likely, and the commoner one counts
_EVIDENCE = 10
"""Bytes beyond ASCII that it takes to believe in anything but the commonest encoding."""
_MOSTLY = 4
"""Characters of UTF-8 to each byte that is none, above which a file is UTF-8 with a few rows of something else."""
_SAMPLE_BYTES = 64 << 10
_LINE_BYTES = 8 << 20  # a longer line is not put together
_NOT_TEXT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


Blocks = Callable[[], Iterator[bytes]]
"""Gives the bytes of a file, block by block, each time it is called."""


class _Broken(Exception):
    """A byte that does not decode."""

    def __init__(self, place: int) -> None:
        super().__init__(place)
        self.place = place


class _Control(Exception):
    """A control character in a text."""


class NotText(Exception):
    """Bytes that are no text in any encoding that can be detected with confidence."""


def find_encoding(blocks: Blocks, named: str | None = None) -> tuple[str, str | None]:
    """The encoding of a text given in blocks, and a note where it had to be guessed. Raises NotText.

    A byte-order mark counts; without one, valid UTF-8 is UTF-8. Anything else is detected on the lines that are not
    ASCII, and must then decode in full and hold no control characters. `named`: what the user says it is.
    """
    if named is not None:
        _require(blocks, named)
        _refuse_utf8(blocks, named)
        return ("utf-8-sig" if codecs.lookup(named).name == "utf-8" else named), None  # its mark is no part of a name
    start = next(iter(blocks()), b"")
    marked = next((name for mark, name in _MARKS if start.startswith(mark)), None)
    try:
        _decode_all(blocks, marked or "utf-8")
        return marked or "utf-8", None
    except _Broken as broken:
        if marked is not None:
            raise NotText(f"not {marked.upper()} at byte {broken.place}, though it begins with its mark") from None
        place = broken.place
    sample = _sample(blocks())
    good, bad = _count_utf8(sample)
    if good >= _MOSTLY * max(bad, 1):
        raise NotText(
            f"not UTF-8 in line {_line_of(blocks(), place)} (byte {place}), though its other characters beyond ASCII are: "
            "correct that line and any other like it, so that all are in one encoding"
        )
    encoding = _detect(sample)
    if encoding is None:
        likely = ", ".join(name for name in _ASIAN if _decodes(blocks, name))
        raise NotText(
            f"not UTF-8 at byte {place}, and no other encoding fits with confidence; save it as UTF-8, or name its "
            f"encoding in data.csv.encoding{f' (it can be read as {likely})' if likely else ''}"
        )
    try:
        _decode_all(blocks, encoding, clean=True)
    except _Broken as broken:
        raise NotText(f"not UTF-8 at byte {place}, nor {encoding} at byte {broken.place}; save it as UTF-8") from None
    except _Control:
        raise NotText(f"not UTF-8 at byte {place}, and control characters in it; save it as UTF-8") from None
    return encoding, f"is not UTF-8 and was read as {encoding}, which was detected; save it as UTF-8 to be sure"


def _require(blocks: Blocks, named: str) -> None:
    try:
        _decode_all(blocks, named)
    except _Broken as broken:
        raise NotText(f"not {named} (data.csv.encoding) at byte {broken.place}") from None


def _refuse_utf8(blocks: Blocks, named: str) -> None:
    """Raises NotText for a text in UTF-8 that is named otherwise: most encodings of one byte a character decode anything."""
    name = codecs.lookup(named).name
    if name.startswith(("utf", "ascii")):
        return
    start = next(iter(blocks()), b"")
    mark = next((known for mark, known in _MARKS if start.startswith(mark)), None)
    if mark is None:
        good, bad = _count_utf8(_sample(blocks()))
        is_single = len(b"\xc3\xbc".decode(name, "replace")) > 1
        if bad or good < (1 if is_single else _EVIDENCE) or not _decodes(blocks, "utf-8", clean=False):
            return
    raise NotText(
        f"{'begins with the mark of' if mark else 'is'} {(mark or 'utf-8').removesuffix('-sig').upper()}, and "
        f"data.csv.encoding={named} would garble it: leave that setting out, or set data.csv.encoding=auto"
    )


def _decodes(blocks: Blocks, encoding: str, *, clean: bool = True) -> bool:
    try:
        _decode_all(blocks, encoding, clean=clean)
    except (_Broken, _Control):
        return False
    return True


def _count_utf8(sample: bytes) -> tuple[int, int]:
    """Characters of UTF-8 beyond ASCII, and bytes that are part of none."""
    beyond = [character for character in sample.decode("utf-8", "surrogateescape") if character > "\x7f"]
    bad = sum("\udc80" <= character <= "\udcff" for character in beyond)
    return len(beyond) - bad, bad


def _line_of(blocks: Iterator[bytes], place: int) -> int:
    """The number of the line in which a byte lies."""
    line = 1
    for block in blocks:
        line += block.count(b"\n", 0, max(place, 0))
        place -= len(block)
        if place < 0:
            break
    return line


def _decode_all(blocks: Blocks, encoding: str, *, clean: bool = False) -> None:
    """Raises _Broken at the first byte that does not decode, with `clean` _Control at a control character."""
    decoder = codecs.getincrementaldecoder(encoding)()
    before = 0
    for block in itertools.chain(blocks(), [b""]):
        held = len(decoder.getstate()[0])
        try:
            text = decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            raise _Broken(before - held + error.start) from None
        if clean and _NOT_TEXT.search(text):
            raise _Control
        before += len(block)


def _detect(sample: bytes) -> str | None:
    """The encoding that fits best, None when none fits well; of equally good ones the commonest."""
    from charset_normalizer import from_bytes

    found = from_bytes(sample, cp_isolation=list(_CANDIDATES))  # readings that differ; each may have many names
    named = {name: match.chaos for match in found for name in match.could_be_from_charset}
    fitting = {name: mess for name, mess in named.items() if mess < _MESS and name in _CANDIDATES}
    if not fitting:
        return None
    least = min(fitting.values())
    best = next(name for name in _CANDIDATES if name in fitting and fitting[name] <= least + _CLEARLY)
    enough = best == _CANDIDATES[0] or sum(byte > 127 for byte in sample) >= _EVIDENCE
    return best if enough else None


def _sample(blocks: Iterator[bytes]) -> bytes:
    """The lines that tell: those with a byte beyond ASCII, up to a bound."""
    lines, size, rest = [], 0, b""
    for block in itertools.chain(blocks, [b""]):
        found = (rest + block).splitlines(keepends=True)
        rest = found.pop() if block and found and len(found[-1]) < _LINE_BYTES else b""
        for line in found:
            if not line.isascii():
                lines.append(line)
                size += len(line)
                if size >= _SAMPLE_BYTES:
                    return b"".join(lines)
    return b"".join(lines)
