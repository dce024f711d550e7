"""What models that read one modality by itself take in: words, gradients of pictures, cepstra of sounds, or sequences.

None of it is cached: it costs less than to read it again.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from data_contracts.modalities import modality_of
from data_contracts.refs import InputName, ValidatedRef
from tasks.config import RunConfig
from tasks.media.encoder_inputs import square
from tasks.media.media_store import MediaReader
from tasks.modalities import Medium, spec_of
from tasks.modeling.classical import SIDE_PX, hog, summarise_cepstra
from tasks.modeling.encoder_reading import params_of
from tasks.samples import Samples
from tasks.store import Store

Floats = NDArray[np.float32]
Media = Sequence[tuple[Medium, int] | None]
"""(N,) a row's medium with its rate in Hz; None where it has none."""


def read_media(samples: Samples, name: InputName, valid: ValidatedRef, store: Store) -> Media:
    """(N,) each row's medium with its rate in Hz; None where it has none."""
    cells = samples.digests(name)
    reader = MediaReader(store, modality_of(name), valid.clean.media[name])
    known = {digest: (medium, reader.rate_hz) for digest, medium in reader.read(filter(None, cells))}
    return [None if cell is None else known[cell] for cell in cells]


def read_sequences(
    samples: Samples, name: InputName, valid: ValidatedRef, config: RunConfig, store: Store
) -> list[NDArray[np.generic] | None]:
    """(N,) what the small encoder of this modality reads: uint8 (L,) of a text, float32 (T, mels) of a sound."""
    return _prepared(read_media(samples, name, valid, store), name, config)


def _prepared(media: Media, name: InputName, config: RunConfig) -> list[NDArray[np.generic] | None]:
    prepare = spec_of(name).prepare_tiny(params_of(modality_of(name), config.extract, pretrained=False))
    return [None if medium is None else np.asarray(prepare(*medium)) for medium in media]


def read_words(samples: Samples, name: InputName, valid: ValidatedRef, store: Store) -> list[str]:
    """(N,) the texts; empty where there is none."""
    return ["" if medium is None else str(medium[0]) for medium in read_media(samples, name, valid, store)]


def gradients_of(media: Media) -> Floats:
    """(N, D) HOG of every picture; zeros where there is none."""
    return _stacked([None if medium is None else _gradients(medium[0]) for medium in media])


def cepstra_of(media: Media, name: InputName, config: RunConfig) -> Floats:
    """(N, D) MFCC of every sound, summed up over its frames; zeros where there is none."""
    return _stacked([None if frames is None else _cepstra(frames) for frames in _prepared(media, name, config)])


def _gradients(picture: NDArray[np.uint8]) -> Floats:
    pixels = torch.from_numpy(np.array(square(picture, SIDE_PX))).permute(2, 0, 1).float().div(255)
    return hog(pixels[None])[0].numpy()


def _cepstra(frames: NDArray[np.generic]) -> Floats:
    return summarise_cepstra(torch.from_numpy(frames)[None], torch.tensor([len(frames)]))[0].numpy()


def _stacked(rows: Sequence[Floats | None]) -> Floats:
    width = next((len(row) for row in rows if row is not None), 1)
    return np.stack([np.zeros(width, np.float32) if row is None else row for row in rows])
