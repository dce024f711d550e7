"""How every HTML page of a stage is rendered: all values escaped, hidden characters spelled out, no external address."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks import escaping

if TYPE_CHECKING:
    from jinja2 import Template


def page_template(path: Path, **filters: Callable[..., str]) -> Template:
    """The template of a file, which may include others of its folder and use these filters, and `number` (`12,345`).

    A name that it is not rendered with is an error.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(path.parent),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": "{:,}".format, **filters}
    return environment.get_template(path.name)


def visible(value: Any) -> Any:
    """A text with every control, format, surrogate and unusual separator character spelled out; other values unchanged."""
    return type(value)(escaping.visible(value)) if isinstance(value, str) else value  # Markup stays Markup
