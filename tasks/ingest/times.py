"""Times as they are written: numbers, ISO 8601, and the usual other forms, of which a whole column has one."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tasks.ingest.splits import parse_time

ISO = "iso"
"""As data.time_format calls numbers and ISO 8601."""
FORMS = (
    "%Y-%m-%d %H:%M:%S %Z",
    "%a %b %d %H:%M:%S %z %Y",
    "%a, %d %b %Y %H:%M:%S %z",
    *(f"{date}{clock}" for date in ("%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y", "%Y/%m/%d", "%d-%m-%Y", "%b %d, %Y", "%d %b %Y")
      for clock in ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p")),
)  # fmt: skip
"""Forms beside numbers and ISO 8601 that `auto` tries, as strptime names them: UTC at the end, Twitter's, e-mail's, dates."""


@dataclass(frozen=True)
class TimeForm:
    """How a column's times are read."""

    read: Callable[[str], float | None]
    """A text as a number: as it is, or seconds since 1970, in UTC where it names no zone; None for one in another form."""
    note: str | None = None
    """What a person should know of it."""
    doubt: str | None = None
    """Why none was found, for the detail of the rows."""
    name: str | None = None
    """As data.time_format has it."""


def find_form(texts: Sequence[str], named: str = "auto") -> TimeForm:
    """The form that all of a column's times have: the named one, numbers and ISO 8601, or the only one of FORMS.

    Where two of FORMS fit and give other times (01/02/2024), or none fits all, times are read as numbers and ISO 8601, and
    `doubt` says why.
    """
    if named == ISO or (named == "auto" and all(parse_time(text) is not None for text in texts)):
        return TimeForm(parse_time, name=ISO)
    if named != "auto":
        return TimeForm(lambda text: _read(text, named), name=named)
    fitting = [form for form in FORMS if all(_read(text, form) is not None for text in texts)]
    if not fitting:
        return TimeForm(parse_time)
    for other in fitting[1:]:
        differing = next((text for text in texts if _read(text, fitting[0]) != _read(text, other)), None)
        if differing is not None:
            return TimeForm(
                lambda text: None,
                doubt=f"{differing!r} may be {fitting[0]} or {other}: say which with data.time_format",
            )
    form = fitting[0]
    return TimeForm(
        lambda text: _read(text, form), note=f"times like {texts[0]!r} are read as {form} (data.time_format)", name=form
    )


def _read(text: str, form: str) -> float | None:
    return _seconds(lambda: datetime.datetime.strptime(text, form))  # noqa: DTZ007 - a zone is added where there is none


def _seconds(read: Callable[[], datetime.datetime]) -> float | None:
    try:
        moment = read()
        return (moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
