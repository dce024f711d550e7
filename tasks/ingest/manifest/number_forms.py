"""Numbers as spreadsheets write them: read where a whole column reads so in one way, and the way is said."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tasks.config_sections import CsvConfig
from tasks.errors import DataError

_MARKS = ((".", ""), (".", ","), (",", "."), (",", ""), (".", " "), (",", " "), (".", "'"), (",", "'"))
"""Decimal mark and what stands between thousands, the usual first."""
_CURRENCY = "$€£¥"
_SIGNED_BRACKETS = re.compile(r"[-+\u2212].*\(.*\).*")
_SPACES = str.maketrans({"\u00a0": " ", "\u202f": " ", "\u2009": " ", "\u2019": "'", "\u2212": "-"})


@dataclass(frozen=True)
class NumberForm:
    """One way to write numbers."""

    decimal: str
    thousands: str
    unit: str = ""
    """Behind, or a sign of currency before or behind, every number; % among them."""

    def read(self, text: str) -> str | None:
        """The number as Python reads it; None for a text that is not written so. (5) is -5, as accountants write it, and so
        are $(5), ($5) and (5)% with their units; -(5) is none. 5- is -5, as SAP writes it.
        """
        if (found := _in_brackets(text, self.unit)) is not None:
            inner = self.read(found)
            return None if inner is None or inner[:1] in "+-" else f"-{inner}"
        if (before := _before_minus(text)) is not None:
            inner = self.read(before)
            return None if inner is None or inner[:1] in "+-" else f"-{inner}"
        bare = _without_unit(text, self.unit)
        if bare is None or not _pattern(self.decimal, self.thousands).fullmatch(bare):
            return None
        return (
            bare.replace(self.thousands, "").replace(self.decimal, ".")
            if self.thousands
            else bare.replace(self.decimal, ".")
        )

    def describe(self) -> str:
        """As a note says it."""
        parts = [f"decimal mark {self.decimal!r}"]
        parts += [f"thousands {self.thousands!r}"] if self.thousands else []
        parts += [f"{self.unit!r} left out"] if self.unit else []
        return ", ".join(parts)


def _before_minus(text: str) -> str | None:
    """What stands before a minus at the end of a whole cell."""
    text = text.translate(_SPACES).strip()
    return text[:-1] if text.endswith("-") else None


def _in_brackets(text: str, unit: str) -> str | None:
    """What stands between the brackets of a whole cell, with the unit where that stands outside."""
    text = text.translate(_SPACES).strip()
    outside = _without_unit(text, unit) if unit else None
    enclosed = text if outside is None else outside
    if not (enclosed.startswith("(") and enclosed.endswith(")") and "(" not in enclosed[1:]):
        return None
    return enclosed[1:-1] if outside is None else enclosed[1:-1] + unit


def _pattern(decimal: str, thousands: str) -> re.Pattern[str]:
    group = rf"(?:\d{{1,3}}(?:{re.escape(thousands)}\d{{3}})+|\d+)" if thousands else r"\d+"
    return re.compile(rf"[-+]?(?:{group}(?:{re.escape(decimal)}\d*)?|{re.escape(decimal)}\d+)(?:[eE][-+]?\d+)?")


def _without_unit(text: str, unit: str) -> str | None:
    """The text without the unit, which must be there."""
    text = text.translate(_SPACES).strip()
    if not unit:
        return text
    sign = text[:1] if text[:1] in "+-" else ""
    rest = text[len(sign) :]
    if rest.endswith(unit):
        return sign + rest.removesuffix(unit).strip()
    return sign + rest.removeprefix(unit).strip() if unit in _CURRENCY and rest.startswith(unit) else None


def find_form(texts: Sequence[str], options: CsvConfig, name: str) -> NumberForm | None:
    """The one form in which all the texts are numbers; None where there is none, or Python reads them all as they are.

    DataError where two forms fit and give other numbers: `1,234` alone is one or a thousand.
    """
    if not texts or (all(map(_is_plain, texts)) and options.decimal == options.thousands == options.unit == "auto"):
        return None
    unit = _unit(texts[0]) if options.unit == "auto" else "" if options.unit == "none" else options.unit
    fitting = [
        form
        for decimal, thousands in _MARKS
        if options.decimal in ("auto", decimal) and options.thousands in ("auto", thousands or "none")
        if all((form := NumberForm(decimal, thousands, unit)).read(text) is not None for text in texts)
    ]
    if not fitting:
        _refuse_signed_brackets(texts, options, name)
        return None
    for other in fitting[1:]:
        differing = next(
            (text for text in texts if float(str(fitting[0].read(text))) != float(str(other.read(text)))), None
        )
        if differing is not None and not _grouped(texts, fitting[0], other):
            raise DataError(
                f"column {name!r}: {differing!r} is {fitting[0].read(differing)} or {other.read(differing)}; say which with "
                f"data.csv.decimal and data.csv.thousands"
            )
    return fitting[0]


def _refuse_signed_brackets(texts: Sequence[str], options: CsvConfig, name: str) -> None:
    """Raises DataError where but for -(5), which is two signs, all texts have one form: no other cell is at fault then."""
    signed = [text for text in texts if _SIGNED_BRACKETS.fullmatch(text)]
    if signed and find_form([text for text in texts if text not in signed], options, name) is not None:
        raise DataError(
            f"column {name!r}: {signed[0]!r} has a sign before brackets, which make a number negative by themselves; write "
            "one of the two"
        )


def _grouped(texts: Sequence[str], form: NumberForm, other: NumberForm) -> bool:
    """Whether all numbers from 1,000 on have the mark between thousands and smaller ones have none: no decimals do that."""
    if form.thousands != other.decimal:
        return False
    bare = [text for text in texts if form.thousands not in text]
    return bool(bare) and all(abs(float(str(form.read(text)))) < 1000 for text in bare)


def _is_plain(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text


def _unit(text: str) -> str:
    """What stands behind a number, or the sign of currency before it."""
    text = text.translate(_SPACES).replace("(", "").replace(")", "").strip()
    before = text.lstrip("+-")[:1]
    if before and before in _CURRENCY:
        return before
    found = re.search(r"(?<=[\d.,])\s*([%€$£¥]|[^\W\d_][\w°/²³]*)$", text)
    return found[1] if found and not re.fullmatch(r"[eE]\d+", found[1]) else ""
