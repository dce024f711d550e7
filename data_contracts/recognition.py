"""What was recognised in a manifest as what, and why, and the settings by which nothing would have to be recognised."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

SettingValue = bool | str | tuple[str, ...] | dict[str, str] | dict[str, tuple[str, ...]]


class _Part(BaseModel):
    """Immutable; a key of another release is passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Recognised(_Part):
    """One thing in a manifest."""

    column: str | None = None
    """None: it is of the whole file or folder."""
    role: str
    """An input (`image`), a role (`label`), `metadata`, or what is chosen of the whole (`delimiter`, `split words`)."""
    how: str
    """How it was found: its name, its cells, the setting that names it."""
    example: str | None = None
    """A cell, or what was chosen."""


class Recognition(_Part):
    """`read` in the summary of a run. The same data and settings give the same."""

    found: tuple[Recognised, ...] = ()
    settings: dict[str, SettingValue] = {}
    """Dotted key to value, of what was chosen and is not set: under these, the same rows are read in the same way, and this is
    empty. `crossmodal check --write-profile` writes them."""
