"""What models that read one modality by itself take in: words, gradients of pictures, cepstra of sounds, or sequences.

None of it is cached: it costs less than to read it again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
from numpy.typing import NDArray

from data_contracts.modalities import modality_of
from data_contracts.refs import InputName, ValidatedRef
from tasks.config import RunConfig
from tasks.media.encoder_inputs import square
from tasks.media.media_store import MediaReader
from tasks.modalities import Medium, spec_of
from tasks.modeling.encoder_reading import params_of
from tasks.samples import Samples
from tasks.store import Store

Floats = NDArray[np.float32]
Media = Sequence[tuple[Medium, int] | None]
"""(N,) a row's medium with its rate in Hz; None where it has none."""
SIDE_PX, CELL_PX, BINS = 48, 8, 9
"""Of HOG: 9 unsigned orientations, cells of 8 px, blocks of 2 x 2 cells, as in Dalal & Triggs, "Histograms of Oriented
Gradients for Human Detection" (2005); a square of 48 px has 900 numbers."""
CLIP, EPSILON = 0.2, 1e-3
"""L2-Hys: a block is scaled to length 1, cut off at 0.2, and scaled again (ibid., sec. 6.4)."""
CEPSTRA = 20
"""Of a frame, as speech recognition and librosa have it."""
LUMA = (0.299, 0.587, 0.114)
"""ITU-R BT.601."""


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
    return _stacked(
        [None if medium is None else hog(square(cast("NDArray[np.uint8]", medium[0]), SIDE_PX)) for medium in media]
    )


def cepstra_of(media: Media, name: InputName, config: RunConfig) -> Floats:
    """(N, 4 x CEPSTRA) MFCC of every sound, summed up over its frames; zeros where there is none."""
    return _stacked(
        [None if frames is None else summarise_cepstra(frames) for frames in _prepared(media, name, config)]
    )


def _stacked(rows: Sequence[Floats | None]) -> Floats:
    width = next((len(row) for row in rows if row is not None), 1)
    return np.stack([np.zeros(width, np.float32) if row is None else row for row in rows])


def hog(picture: NDArray[np.uint8]) -> Floats:
    """uint8 (S, S, 3) to (blocks x 4 x BINS,): the histogram of oriented gradients of its luminance.

    A gradient votes with its length for the two orientations beside its own, in proportion to how near they are.
    """
    grey = picture.astype(np.float64) @ np.array(LUMA)
    dy, dx = np.zeros_like(grey), np.zeros_like(grey)
    dx[:, 1:-1], dy[1:-1] = grey[:, 2:] - grey[:, :-2], grey[2:] - grey[:-2]
    length = np.hypot(dx, dy)
    place = (np.arctan2(dy, dx) % np.pi) / np.pi * BINS  # orientation 0 is bin 0
    below = np.floor(place).astype(np.int64)
    share = place - below
    side = len(grey) // CELL_PX
    cell = (np.arange(side * CELL_PX) // CELL_PX)[:, None] * side + np.arange(side * CELL_PX) // CELL_PX
    inside = (slice(side * CELL_PX), slice(side * CELL_PX))
    votes = np.zeros(side * side * BINS)
    for bins, weight in ((below, 1 - share), (below + 1, share)):
        places = cell * BINS + (bins % BINS)[inside]
        votes += np.bincount(places.ravel(), (length * weight)[inside].ravel(), len(votes))
    cells = votes.reshape(side, side, BINS)
    corners = (cells[:-1, :-1], cells[:-1, 1:], cells[1:, :-1], cells[1:, 1:])
    blocks = _scaled(np.minimum(_scaled(np.concatenate(corners, axis=2)), CLIP))
    return blocks.astype(np.float32).ravel()


def _scaled(blocks: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = blocks / np.sqrt((blocks**2).sum(axis=2, keepdims=True) + EPSILON**2)
    return found


def summarise_cepstra(spectrum: NDArray[np.generic]) -> Floats:
    """Log-mel (T, mels) to (4 x CEPSTRA,): mean and deviation over the frames of the cepstra, and of their change."""
    from scipy.fft import dct

    cepstra = dct(spectrum.astype(np.float64), type=2, norm="ortho", axis=1)[:, :CEPSTRA]
    change = np.diff(cepstra, axis=0) if len(cepstra) > 1 else np.zeros_like(cepstra)
    parts = [part for values in (cepstra, change) for part in (values.mean(axis=0), values.std(axis=0))]
    return np.concatenate(parts).astype(np.float32)
