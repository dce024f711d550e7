"""How every page here is rendered: all values escaped, hidden characters spelled out, no external address."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tasks import names
from tasks.figures import figure_text


def page_template(name: str) -> Any:
    """A template of this folder."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": "{:,}".format, "ruled": ruled}
    return environment.get_template(name)


def visible(value: Any) -> Any:
    """A text with every hidden character spelled out; other values unchanged."""
    return type(value)(names.visible(value)) if isinstance(value, str) else value  # Markup stays Markup


def ruled(value: float | None, metric: str) -> str:
    """A figure, None a dash."""
    return "–" if value is None else figure_text(value, metric)
