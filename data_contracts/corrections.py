"""What a corrections file changed in a manifest's labels: part of the lineage of all that is made of them."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class CorrectionsRef(BaseModel):
    """A corrections file, as it was applied to a manifest's labels."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """Of its lines' content, whatever their order."""
    relabelled: int
    dropped: int
    kept: int = 0
    """Lines without a new label: somebody looked, and left the row as it is."""
    unused: int = 0
    """Lines about rows that data.max_rows leaves out."""
    splits: dict[str, int] = Field(default_factory=dict)
    """Rows that were changed or dropped, by the split that the manifest gives them; `none`: it gives none."""
