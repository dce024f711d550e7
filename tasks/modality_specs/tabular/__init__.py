"""Tables: numeric and categorical columns of a row, which together are one input, `tabular`."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from data_contracts.expectations.features import FeatureSpec
from data_contracts.refs import InputName
from tasks.modalities import Decode, JoinedColumns, Medium, ModalitySpec, Params, Prepare, Statistics

if TYPE_CHECKING:
    import torch

    from tasks.config import RunConfig, TrainConfig
    from tasks.media.thumbnails import Picture
    from tasks.modeling.encoder_base import Encoder
    from tasks.modeling.encoder_spec import EncoderSpec
    from tasks.modeling.fusion.classifier import Present

MAX_COLUMNS = 1000


class Tabular(ModalitySpec):
    """Ages, prices, breeds, colours: what is known of a sample in columns."""

    name = "tabular"
    column_help = """Numeric and categorical columns, which together are one input (["age", "breed", "zip:categorical"]); null:
    none. A column of numbers is numeric, unless :categorical follows its name; :numeric reads what is no number as missing."""
    media_modules = ("tasks.modality_specs.tabular.media", "tasks.modality_specs.tabular.cells")
    statistics_modules = ("tasks.modality_specs.tabular.columns", "tasks.modality_specs.tabular.cells")
    size_unit = "filled cells"
    measures = MappingProxyType({"filled": "cells"})
    tiny_modules = ("tasks.modality_specs.tabular.cells",)
    tiny_dtype = "int32"
    network_modules = (
        "tasks.modality_specs.tabular.cells",
        "tasks.modality_specs.tabular.fitting",
        "tasks.modality_specs.tabular.network",
    )
    identifies = False

    def decoder(self) -> Decode:
        """The JSON that `join` wrote."""
        from tasks.modality_specs.tabular.media import decode_row

        return decode_row

    def joined_columns(self) -> JoinedColumns:
        """Their names, types, fit and figures."""
        from tasks.modality_specs.tabular.columns import TabularColumns

        return TabularColumns()

    def restore(self, data: bytes, shape: Sequence[int]) -> str:
        """The JSON itself."""
        return str(data, "utf-8")

    def size(self, shape: Sequence[int], rate_hz: int) -> float:
        """Filled cells."""
        return float(shape[0])

    def measure(self, medium: Medium, rate_hz: int) -> dict[str, float]:
        """How many cells are filled."""
        from tasks.modality_specs.tabular.cells import read_row

        return {"filled": float(len(read_row(medium)))}

    def statistics(self, media: Sequence[tuple[Medium, int]], spec: EncoderSpec) -> Statistics:
        """By column."""
        from tasks.modality_specs.tabular.columns import statistics_of

        return statistics_of([medium for medium, _ in media], spec)

    def thumbnail(self, medium: Medium, rate_hz: int) -> Picture:
        """Its cells."""
        from tasks.modality_specs.tabular.cells import read_row

        return {"cells": sorted(read_row(medium).items())}

    def prepare_tiny(self, params: Params) -> Prepare:
        """Cells as whole numbers, not yet scaled or looked up."""
        from tasks.modality_specs.tabular.cells import encode_row, read_row

        return lambda row, rate_hz: encode_row(read_row(row))

    def tiny_features(self, name: InputName, config: RunConfig) -> FeatureSpec:
        """Up to MAX_COLUMNS cells of four numbers."""
        return FeatureSpec(name, "int32", r"^\d+x4$", MAX_COLUMNS, -(2**31), 2**31 - 1)

    def tiny_network(self, spec: EncoderSpec) -> Encoder:
        """A token for each column, and a small network over them."""
        from tasks.modality_specs.tabular.fitting import FittedTable
        from tasks.modality_specs.tabular.network import TinyTabular

        return TinyTabular(FittedTable.model_validate(spec.settings))

    def augment(self, part: Present, spec: EncoderSpec, config: TrainConfig, generator: torch.Generator) -> Present:
        """Some cells are hidden, some categories unknown."""
        from tasks.modality_specs.tabular.network import hide_cells

        return part._replace(values=hide_cells(part.values, generator))


SPEC = Tabular()
