"""The section of the config on compression: how a small network learns from a large one."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tasks.config_sections import Section, Share


class CompressConfig(Section):
    """`crossmodal compress --methods distill`. What else the student is comes from encoders, fusion and train."""

    distill_temperature: Annotated[float, Field(ge=1, le=100)] = 4.0
    """What the logits of teacher and student are divided by before they are compared."""
    distill_alpha: Share = 0.9
    """Share of the teacher's part of the loss; the labels have the rest."""
    distill_features_weight: Annotated[float, Field(ge=0, le=1000)] = 0.0
    """Weight of the loss by which rows become as alike as they are to the teacher, by the fused features of both; 0: off."""
