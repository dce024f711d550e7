"""Inputs as their encoders read them, cut into parts that a person can point at: words, frames, columns, cells of a picture.

Each part can be taken away: its values give way to those of a baseline, which stands for the input without content.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from data_contracts.explanations import Form
from data_contracts.refs import InputName
from tasks.encoder_ids import BUILT_IN
from tasks.errors import UsageError
from tasks.explain.words import byte_words, token_words
from tasks.modalities import spec_of
from tasks.modeling.encoder_spec import EncoderSpec

GRID = 8
"""Cells of a picture along each side; of a spectrogram over time."""
BANDS = 4
"""Cells of a spectrogram over frequency."""
SEGMENTS = 16
"""Of a sound that is read as samples."""


@dataclass(frozen=True)
class Reading:
    """One input of one row."""

    name: InputName
    form: Form
    values: Tensor
    """(1, L, ...) as the encoder takes it."""
    lengths: Tensor
    """(1,)"""
    baseline: Tensor
    """Like `values`: the input without content."""
    parts: Tensor
    """int64, broadcasts to `values`: the part that each value is of, -1 of none."""
    labels: tuple[str, ...] = ()
    """Of words, frames and columns."""
    grid: tuple[int, int] | None = None
    """Of a picture's or spectrogram's cells, lines from the top (the lowest frequency), then columns."""

    @property
    def count(self) -> int:
        """Parts."""
        return int(self.parts.max()) + 1

    def without(self, taken: Tensor) -> Tensor:
        """(B, L, ...) the input once for each line of `taken` (B, parts), True for parts that give way to the baseline."""
        known = torch.cat([taken, torch.zeros(len(taken), 1, dtype=torch.bool)], dim=1)  # part -1 never does
        mask = known[:, self.parts[0]]
        return torch.where(mask, self.baseline, self.values)


class Read(Protocol):
    """An input of a modality as a Reading."""

    def __call__(
        self, name: InputName, values: Tensor, medium: Any, spec: EncoderSpec, encoder: nn.Module, /
    ) -> Reading:
        """`values` (1, L, ...) are what `spec`'s preparer made of the medium."""


def read_input(name: InputName, feature: np.ndarray, medium: Any, spec: EncoderSpec, encoder: nn.Module) -> Reading:
    """The reading of what `spec`'s preparer made of a medium."""
    values = spec_of(name).to_model(torch.from_numpy(np.array(feature))[None])
    return READ[form_of(name)](name, values, medium, spec, encoder)


def form_of(name: InputName) -> Form:
    """How an input is taken apart, by what its modality says of itself. UsageError for one that is like none that is known."""
    facts = spec_of(name)
    if facts.joined_columns() is not None:
        return "columns"
    if facts.has_pixels:
        return "frames" if facts.has_frames else "picture"
    if facts.has_tokens:
        return "words"
    if "sample_rate_hz" in facts.media_keys:
        return "spectrogram"
    raise UsageError(f"explain: nothing is known of the parts of {name}; name other inputs with --input")


def _picture(name: InputName, values: Tensor, medium: Any, spec: EncoderSpec, encoder: nn.Module) -> Reading:
    """Baseline: the picture's mean colour everywhere, so that what stands out from it counts, light or dark."""
    side = min(GRID, values.shape[-1])
    lines, columns = (_cut(size, side) for size in values.shape[-2:])
    parts = lines[:, None] * side + columns[None]
    flat = values.mean(dim=(-2, -1), keepdim=True).expand_as(values)
    return Reading(name, "picture", values, _length(values), flat, parts[None, None], grid=(side, side))


def _frames(name: InputName, values: Tensor, medium: Any, spec: EncoderSpec, encoder: nn.Module) -> Reading:
    """Baseline: the clip's mean colour everywhere."""
    count = values.shape[1]
    parts = torch.arange(count)[None, :, None, None, None]
    flat = values.mean(dim=(1, 3, 4), keepdim=True).expand_as(values)
    labels = tuple(f"frame {number}" for number in range(1, count + 1))
    return Reading(name, "frames", values, _length(values), flat, parts, labels)


def _sound(name: InputName, values: Tensor, medium: Any, spec: EncoderSpec, encoder: nn.Module) -> Reading:
    """Baseline of a spectrogram: its mean level everywhere; of samples: silence."""
    if values.ndim == 2:
        segments = min(SEGMENTS, values.shape[1])
        parts = _cut(values.shape[1], segments)[None]
        return Reading(
            name, "spectrogram", values, _length(values), torch.zeros_like(values), parts, grid=(1, segments)
        )
    times, bands = min(2 * GRID, values.shape[1]), min(BANDS, values.shape[2])
    parts = _cut(values.shape[2], bands)[None] * times + _cut(values.shape[1], times)[:, None]
    flat = values.mean(dim=(1, 2), keepdim=True).expand_as(values)
    return Reading(name, "spectrogram", values, _length(values), flat, parts[None], grid=(bands, times))


def _text(name: InputName, values: Tensor, medium: Any, spec: EncoderSpec, encoder: nn.Module) -> Reading:
    """Baseline: unknown bytes, or padding tokens, as many as there are; the tokens that begin and end a text stay."""
    if spec.encoder in BUILT_IN:
        unknown = int(encoder.unknown)  # type: ignore[arg-type]
        words, of_value = byte_words(str(medium), values.shape[1])
    else:
        unknown = int(encoder.pad_token_id)  # type: ignore[arg-type]
        words, of_value = token_words(str(medium), values[0].tolist(), spec)
    parts = torch.tensor(of_value, dtype=torch.int64)[None]
    baseline = torch.where(parts < 0, values, torch.full_like(values, unknown))
    return Reading(name, "words", values, _length(values), baseline, parts, tuple(words))


def _table(name: InputName, values: Tensor, medium: Any, spec: EncoderSpec, encoder: nn.Module) -> Reading:
    """Baseline: every cell missing."""
    columns = spec_of(name).joined_columns()
    assert columns is not None  # it is a table
    known = [columns.split_entry(entry)[0] for entry in columns.columns_read(spec)]
    from tasks.modality_specs.tabular.cells import column_key

    key_of = {column_key(column): column for column in known}
    ordered = tuple(key_of[key] for key in sorted(key_of))  # as the network has its columns
    place = {column_key(column): number for number, column in enumerate(ordered)}
    parts = torch.tensor([place.get(int(key), -1) for key in values[0, :, 0]], dtype=torch.int64)[None, :, None]
    return Reading(name, "columns", values, _length(values), torch.zeros_like(values), parts, ordered)


READ: Mapping[Form, Read] = MappingProxyType(
    {"picture": _picture, "words": _text, "spectrogram": _sound, "frames": _frames, "columns": _table}
)


def _length(values: Tensor) -> Tensor:
    return torch.tensor([values.shape[1]])


def _cut(size: int, pieces: int) -> Tensor:
    """(size,) numbers of equal pieces, in order."""
    return torch.arange(size) * pieces // size
