"""The section of the config on explanations: which rows, which inputs, and how closely."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from data_contracts.refs import InputName, Split
from tasks.config_sections import Section


class ExplainConfig(Section):
    """What `crossmodal explain` looks at."""

    split: Split = "test"
    """Whose rows are explained."""
    rows: Annotated[int, Field(ge=1, le=100_000)] = 200
    """Rows whose Shapley values are in the figures, drawn by a hash of their ids."""
    samples: Annotated[int, Field(ge=1, le=1000)] = 8
    """Rows that the page shows in detail: half of them the worst mistakes, where there are so many."""
    fidelity_rows: Annotated[int, Field(ge=1, le=10_000)] = 24
    """Rows on which deletion and insertion are tried."""
    ids: tuple[str, ...] = ()
    """Rows to show, by id; none: chosen."""
    label: str | None = None
    """The class or label that is explained; None: the answer, of several labels the most probable one."""
    inputs: tuple[InputName, ...] | None = None
    """Inputs whose parts are looked at; None: all that the model reads."""
    n_steps: Annotated[int, Field(ge=4, le=1000)] = 32
    """Of integrated gradients (captum's n_steps); doubled up to twice where the values do not yet sum to the difference."""
    neighbors: Annotated[int, Field(ge=0, le=50)] = 4
    """Nearest training rows of each row that is shown."""
