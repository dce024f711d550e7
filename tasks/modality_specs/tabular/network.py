"""The tiny encoder of a table's row: a token for each column, and a small network over all of them.

A number is scaled robustly and bent at three deviations (as Holzmüller et al. do in RealMLP, 2024), then embedded with
weights of its column; a category is looked up (Gorishniy et al., Revisiting Deep Learning Models for Tabular Data, 2021). A
missing cell, and a category that is not known, have a learned token of their own in every column.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from tasks.modality_specs.tabular.cells import category_key, column_key
from tasks.modality_specs.tabular.fitting import FittedTable
from tasks.modeling.encoder_base import Encoder

DROPOUT = 0.1
TOKEN = 16
HIDDEN = 256
BEND = 3.0
HIDDEN_CELLS = 0.05
"""Chance that training reads a cell as missing, and that it reads it as an unknown category."""


class TinyTabular(Encoder):
    """Columns are found by their keys, so that their order, and columns that the model does not know, change nothing."""

    width = 128
    column_keys: Tensor
    category_keys: Tensor
    is_number: Tensor
    center: Tensor
    scale: Tensor

    def __init__(self, table: FittedTable) -> None:
        """ValueError where the table has no column."""
        super().__init__()
        columns = sorted(table.columns, key=lambda column: column_key(column.name))
        if not columns:
            raise ValueError("tabular: no column is described")
        keys = sorted(category_key(column.name, text) for column in columns for text in column.categories)
        # Buffers, so that the weights alone say what the model was fitted to.
        self.register_buffer("column_keys", torch.tensor([column_key(column.name) for column in columns]))
        self.register_buffer("category_keys", torch.tensor(keys, dtype=torch.int64))
        self.register_buffer("is_number", torch.tensor([column.type == "numeric" for column in columns]))
        self.register_buffer("center", torch.tensor([column.center for column in columns], dtype=torch.float32))
        self.register_buffer("scale", torch.tensor([column.scale for column in columns], dtype=torch.float32))
        count = self.count = len(columns)
        self.tokens = nn.Embedding(2 * count + len(keys), TOKEN)  # missing, unknown, and the categories
        nn.init.normal_(self.tokens.weight, std=TOKEN**-0.5)
        self.weight = nn.Parameter(torch.randn(count, TOKEN))
        self.bias = nn.Parameter(torch.randn(count, TOKEN))
        self.first = nn.Linear(count * TOKEN, HIDDEN)
        self.norm = nn.LayerNorm(HIDDEN)
        self.drop = nn.Dropout(DROPOUT)
        self.second = nn.Linear(HIDDEN, self.width)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(B, L, 4) cells as `encode_row` gives them, (B,) filled cells -> (B, width)."""
        filled, numbers, keys = self._by_column(x, lengths)
        tokens = torch.where(self.is_number[:, None], self._numbers(numbers), self._categories(filled, keys))
        h = functional.gelu(self.norm(self.first(tokens.flatten(1))))
        encoded: Tensor = functional.gelu(self.second(self.drop(h)))
        return encoded

    def _by_column(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, K) whether a cell is filled, its number or NaN, and the key of its category."""
        there = torch.arange(x.shape[1], device=x.device) < lengths[:, None]
        place = torch.searchsorted(self.column_keys, x[..., 0].contiguous()).clamp(max=self.count - 1)
        known = there & (self.column_keys[place] == x[..., 0])
        place = torch.where(known, place, self.count)  # all others meet in a column that is cut off
        size = (len(x), self.count + 1)
        numbers = x[..., 1].to(torch.int32).view(torch.float32)
        keys = (x[..., 2] << 32) | (x[..., 3] & 0xFFFFFFFF)
        filled = torch.zeros(size, dtype=torch.bool, device=x.device).scatter(1, place, True)
        return (
            filled[:, :-1],
            torch.full(size, torch.nan, device=x.device).scatter(1, place, numbers)[:, :-1],
            torch.zeros(size, dtype=torch.int64, device=x.device).scatter(1, place, keys)[:, :-1].contiguous(),
        )

    def _numbers(self, numbers: Tensor) -> Tensor:
        """(B, K) -> (B, K, TOKEN)"""
        missing = numbers.isnan()
        scaled = (numbers.masked_fill(missing, 0.0) - self.center) / self.scale
        bent = scaled / torch.sqrt(1 + (scaled / BEND) ** 2)
        tokens = functional.relu(bent[..., None] * self.weight + self.bias)
        return torch.where(missing[..., None], self.tokens.weight[: self.count], tokens)

    def _categories(self, filled: Tensor, keys: Tensor) -> Tensor:
        """(B, K), (B, K) -> (B, K, TOKEN)"""
        column = torch.arange(self.count, device=keys.device).expand_as(keys)
        found = torch.where(filled, self.count + column, column)
        if len(self.category_keys):
            place = torch.searchsorted(self.category_keys, keys).clamp(max=len(self.category_keys) - 1)
            found = torch.where(filled & (self.category_keys[place] == keys), 2 * self.count + place, found)
        looked_up: Tensor = self.tokens(found)
        return looked_up


def hide_cells(values: Tensor, generator: torch.Generator) -> Tensor:
    """Cells (B, L, 4), some of which are now missing, and some of an unknown category."""
    draws = torch.rand(values.shape[:2], generator=generator).to(values.device)
    changed = values.clone()
    changed[..., 0] = values[..., 0].masked_fill(draws < HIDDEN_CELLS, 0)
    unknown = (draws >= HIDDEN_CELLS) & (draws < 2 * HIDDEN_CELLS)
    changed[..., 2:] = values[..., 2:].masked_fill(unknown[..., None], 0)
    return changed
