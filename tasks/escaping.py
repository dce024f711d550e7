"""Text from outside, made inert: labels, ids, paths and messages before they reach a terminal, a page, or a spreadsheet.

One rule for all sinks: credentials are cut out (tasks/redaction.py), and what a reader would act on or not see (control,
bidirectional, zero-width characters) is spelled out, `⟨U+202E⟩`; then each sink adds what its own syntax needs. Nothing is
stored in this form: it is for showing.
"""

from __future__ import annotations

import html
import json
import re
import unicodedata
from typing import Any

from tasks.redaction import redact

_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode's general categories of what moves the cursor, changes the direction, or cannot be seen."""
_LINE_START = re.compile(
    r"""^[#>+=-]              # a heading, a quote, a list
      | (?<=^\d)[.)]           # a numbered list (one digit; longer numbers start at more than a list is worth)
    """,
    re.VERBOSE,
)
_MARKDOWN = re.compile(
    r"""[\\`*|~$]              # emphasis, code, a table's cell, mathematics
      | (?<=\])[(\[:]          # a link's address, after its text
      | (?<![^\W_])_ | _(?![^\W_])  # emphasis: not inside a word
    """,
    re.VERBOSE,
)
_ENTITY = re.compile(r"&(?=#?\w+;)")
_ADDRESS = re.compile(r"(?i)\b(https?|ftp|file)(?=://)|\bwww(?=\.)|\b(?:mailto|javascript|data)(?=:)")
_RUN_BY_SPREADSHEETS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # OWASP, "CSV injection"
LONGEST = 1000
"""Characters of one value that a line or a cell shows."""


def visible(text: str, keep: str = "\n\t") -> str:
    """The text without credentials, every control, format, surrogate and line-separator character but those in `keep`
    spelled out.
    """
    return _spell_out(redact(text), keep)


def _spell_out(text: str, keep: str) -> str:
    if text.isprintable():
        return text
    return "".join(
        f"⟨U+{ord(c):04X}⟩" if unicodedata.category(c) in _HIDDEN and c not in keep else c for c in text
    )  # a surrogate, too, so that the result can always be encoded


def one_line(text: str, longest: int = LONGEST) -> str:
    """The text on one line, visible, its middle left out where it is long: both ends say something."""
    shown = visible(" ".join(text.split()), keep="")
    half = (longest - 3) // 2
    return shown if len(shown) <= longest else f"{shown[:half]} … {shown[-half:]}"


def html_text(text: str) -> str:
    """The text for an HTML page, in an element or in a quoted attribute."""
    return html.escape(visible(text))


def markdown_text(text: str, longest: int = LONGEST) -> str:
    """The text as one line of Markdown that renders as itself: no markup, no HTML, no link."""
    start = _LINE_START.search(shown := one_line(text, longest))
    if start is None:
        return _markdown_inline(shown)
    place = start.start()
    return f"{shown[:place]}\\{shown[place]}{_markdown_inline(shown[place + 1 :])}"


def markdown_cell(text: str, longest: int = LONGEST) -> str:
    """The same for a cell of a table, where no line begins: `0.5` and `-1` stay as they are. No end of the cell."""
    return _markdown_inline(one_line(text, longest))


def _markdown_inline(shown: str) -> str:
    escaped = _MARKDOWN.sub(r"\\\g<0>", shown)
    escaped = _ENTITY.sub("&amp;", escaped).replace("<", "&lt;")
    return _ADDRESS.sub(
        lambda match: f"&#{ord(match[0][0])};{match[0][1:]}", escaped
    )  # else it becomes a link by itself


def spreadsheet_cell(text: str) -> str:
    """The text for a CSV cell: one that a spreadsheet would run as a formula gets an apostrophe before it.

    Nothing is cut out: a table is redacted as a whole, or holds what the user's own did.
    """
    shown = _spell_out(text, keep="\n\t\r")
    inert = f"'{shown}" if shown.lstrip(" ").startswith(_RUN_BY_SPREADSHEETS) else shown
    return inert.replace("\r", "\\r")  # csv leaves it unquoted, and readers end the row there


def json_text(value: Any) -> str:
    """The value as one line of JSON. What a terminal would act on is escaped: the value is the same, the line is inert."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    if text.isprintable():
        return text
    return "".join(_json_escape(c) if unicodedata.category(c) in _HIDDEN else c for c in text)


def _json_escape(character: str) -> str:
    return json.dumps(character, ensure_ascii=True)[1:-1]
