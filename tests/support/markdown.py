"""Markdown as GitHub, Prefect's UI and MLflow's pages read it: CommonMark with tables."""

from __future__ import annotations

import re
from functools import cache

from markdown_it import MarkdownIt
from markdown_it.token import Token

_MARKUP = {"html_inline", "html_block", "link_open", "image"}
_BORDER = re.compile(r"(?<!\\)\|")


@cache
def _parser() -> MarkdownIt:
    return MarkdownIt("commonmark").enable(["table", "strikethrough"])


def tables_of(text: str) -> list[list[list[str]]]:
    """Tables, rows, cells, as a reader sees them; the first row of each is its head.

    Fails where a line that was meant to be a row is none, or has more or fewer cells than its head: a parser says nothing.
    """
    tokens, lines = _parser().parse(text), text.splitlines()
    inside, tables = set[int](), list[list[list[str]]]()
    for place, token in enumerate(tokens):
        if token.map is None:
            continue
        if token.type in ("fence", "code_block"):
            inside.update(range(*token.map))
        elif token.type == "table_open":
            first, last = token.map
            inside.update(range(first, last))
            widths = {line: len(_BORDER.findall(lines[line].strip())) for line in range(first, last)}
            assert len(set(widths.values())) == 1, f"rows of other widths: {lines[first:last]}"
            tables.append(_rows(tokens[place:]))
    stray = [line for number, line in enumerate(lines) if line.lstrip().startswith("|") and number not in inside]
    assert stray == [], f"rows outside a table: {stray}"
    return tables


def _rows(tokens: list[Token]) -> list[list[str]]:
    rows: list[list[str]] = []
    for token in tokens:
        if token.type == "table_close":
            break
        if token.type == "tr_open":
            rows.append([])
        elif token.type == "inline":
            rows[-1].append(shown(token))
    return rows


def shown(token: Token) -> str:
    """What a reader sees of one inline token."""
    return "".join(" " if child.type == "softbreak" else child.content for child in token.children or ())


def text_of(text: str) -> str:
    """All that a reader sees, one line for each block."""
    found = _parser().parse(text)
    return "\n".join(shown(t) if t.type == "inline" else t.content for t in found if t.type in ("inline", "fence"))


def markup_of(text: str) -> set[str]:
    """Which of links, pictures and HTML it holds."""
    children = [child for token in _parser().parse(text) for child in (token, *(token.children or ()))]
    return {child.type for child in children} & _MARKUP
