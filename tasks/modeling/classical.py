"""Classical features: what was read of pictures, sounds and texts before networks learned to. Networks without weights.

They read what the `tiny` encoders read, so that whatever works with those works with these, gradients included. Nothing in them
is fitted: the train rows' means and deviations belong to the model (tasks/modeling/encoders.py:Standardised).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from tasks.modeling.encoder_base import Encoder, length_mask

SIDE_PX, CELL_PX, BINS = 48, 8, 9
"""Of HOG: 9 unsigned orientations, cells of 8 px, blocks of 2 x 2 cells, as in Dalal & Triggs, "Histograms of Oriented
Gradients for Human Detection" (2005); a square of 48 px has 900 numbers."""
CLIP, EPSILON = 0.2, 1e-3
"""L2-Hys: a block is scaled to length 1, cut off at 0.2, and scaled again (ibid., sec. 6.4)."""
LEVEL = 1e-2
"""A weaker gradient is rounding; 1 of 255 in blue, the faintest step, is 0.1."""
LUMA = (0.299, 0.587, 0.114)
"""ITU-R BT.601."""
SHADES, QUARTERS = 4, 2
"""Of the colour histograms: 4 x 4 x 4 colours (Swain & Ballard, "Color Indexing", 1991, sec. 3), in each of 2 x 2 parts."""
CEPSTRA = 20
"""Of a frame, as speech recognition and librosa have it."""
HASHED = 2048
"""Columns for the words and as many for the characters of a text, by hash (Weinberger et al., "Feature Hashing for Large Scale
Multitask Learning", 2009)."""
NGRAMS = (2, 3, 4, 5)
"""Characters that are counted together."""
PRIME, MIX = 1_000_003, -7_046_029_254_386_353_131
"""Of the polynomial that hashes bytes, and Knuth's multiplicative hash (2^64 over the golden ratio), both modulo 2^64."""


def hog(pictures: Tensor) -> Tensor:
    """(B, 3, S, S) in [0, 1] to (B, blocks x 4 x BINS): the histograms of oriented gradients of their luminance.

    A gradient votes with its length for the two orientations beside its own, in proportion to how near they are.
    """
    grey = torch.einsum("bchw,c->bhw", pictures, pictures.new_tensor(LUMA)) * 255
    dx = functional.pad(grey[:, :, 2:] - grey[:, :, :-2], (1, 1))
    dy = functional.pad(grey[:, 2:] - grey[:, :-2], (0, 0, 1, 1))
    level = dx.abs() + dy.abs() < LEVEL  # has no orientation, and neither root nor atan2 a derivative
    dx, dy = torch.where(level, 1.0, dx), torch.where(level, 0.0, dy)
    length = torch.where(level, 0.0, torch.hypot(dx, dy))
    place = (torch.atan2(dy, dx) % math.pi) / math.pi * BINS  # orientation 0 is bin 0
    bins = torch.arange(BINS, device=grey.device)[:, None, None]
    away = (place[:, None] - bins).abs()
    votes = length[:, None] * (1 - torch.minimum(away, BINS - away)).clamp_min(0)
    cells = functional.avg_pool2d(votes, CELL_PX).movedim(1, 3) * CELL_PX**2  # (B, A, A, BINS)
    corners = (cells[:, :-1, :-1], cells[:, :-1, 1:], cells[:, 1:, :-1], cells[:, 1:, 1:])
    return _scaled(_scaled(torch.cat(corners, dim=3)).clamp_max(CLIP)).flatten(1)


def _scaled(blocks: Tensor) -> Tensor:
    return blocks / (blocks.square().sum(dim=3, keepdim=True) + EPSILON**2).sqrt()


def colours(pictures: Tensor) -> Tensor:
    """(B, 3, S, S) in [0, 1] to (B, QUARTERS^2 x SHADES^3): the roots of the shares of each colour in each part.

    A pixel counts for the two shades beside its own in each channel; the distance of roots is Hellinger's.
    """
    shades = torch.arange(SHADES, device=pictures.device)
    near = (1 - (pictures[:, :, None] * (SHADES - 1) - shades[:, None, None]).abs()).clamp_min(
        0
    )  # (B, 3, SHADES, S, S)
    red, green, blue = near.unbind(1)
    parts = [
        functional.adaptive_avg_pool2d((red[:, r, None] * green[:, g, None] * blue).contiguous(), QUARTERS)
        for r in range(SHADES)
        for g in range(SHADES)
    ]
    return (torch.cat(parts, dim=1) + 1e-6).sqrt().flatten(1)


def summarise_cepstra(spectra: Tensor, lengths: Tensor) -> Tensor:
    """Log-mel (B, T, M) to (B, 4 x CEPSTRA): mean and deviation over the frames of the MFCC, and of their change."""
    count = spectra.shape[2]
    angles = math.pi / count * (torch.arange(count, device=spectra.device) + 0.5)
    basis = torch.cos(angles[:, None] * torch.arange(CEPSTRA, device=spectra.device)) * math.sqrt(2 / count)
    basis[:, 0] /= math.sqrt(2)  # orthonormal DCT-II
    cepstra = spectra @ basis
    change = cepstra[:, 1:] - cepstra[:, :-1]
    if not change.shape[1]:
        change = torch.zeros_like(cepstra)
    return torch.cat([*_over_time(cepstra, lengths), *_over_time(change, (lengths - 1).clamp_min(1))], dim=1)


def _over_time(values: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """(B, T, D), (B,) to mean and deviation, (B, D) each, over what is not padding."""
    mask, count = length_mask(lengths, values.shape[1]).unsqueeze(2), lengths[:, None].to(values.dtype)
    mean = (values * mask).sum(dim=1) / count
    spread = ((values - mean[:, None]).square() * mask).sum(dim=1) / count
    return mean, (spread + 1e-12).sqrt()


def hash_ngrams(texts: Tensor, lengths: Tensor) -> Tensor:
    """Bytes (B, L) to (B, 2 x HASHED): words and pairs of words, then n-grams of bytes, counted by hash.

    1 + ln(count) as of TF-IDF, each half of length 1. ASCII letters count as small ones; what is no byte (hidden ones) belongs
    to nothing.
    """
    inside = length_mask(lengths, texts.shape[1]) > 0
    known = inside & (texts < 256)
    low = torch.where((texts >= 65) & (texts <= 90), texts + 32, texts) + 1
    words = _hash_words(low, known & _in_words(low - 1))
    grams = []
    for size in NGRAMS:
        if size > texts.shape[1]:
            break
        views, whole = low.unfold(1, size, 1), known.unfold(1, size, 1).all(dim=2)
        mixed = torch.full_like(views[:, :, 0], size)
        for place in range(size):
            mixed = mixed * PRIME + views[:, :, place]
        grams.append((mixed, whole))
    return torch.cat([_counted(words), _counted(grams or [(low, known)])], dim=1)


def _in_words(texts: Tensor) -> Tensor:
    """(B, L) whether a byte is of a letter or a digit; all that is not ASCII counts as letters."""
    return ((texts >= 48) & (texts <= 57)) | ((texts >= 97) & (texts <= 122)) | ((texts >= 128) & (texts < 256))


def _hash_words(texts: Tensor, inside: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Hashes (B, L) of the word, and of the pair of words, that ends at each byte, with whether one does."""
    word, before = torch.zeros_like(texts[:, 0]), torch.zeros_like(texts[:, 0])
    last = torch.cat([inside[:, 1:], torch.zeros_like(inside[:, :1])], dim=1).logical_not() & inside
    single, pairs, paired = [], [], []
    for place in range(texts.shape[1]):
        word = torch.where(inside[:, place], word * PRIME + texts[:, place], 0)
        ends = last[:, place]
        single.append(word)
        pairs.append((before * PRIME + 1) * PRIME + word)
        paired.append(ends & (before != 0))
        before = torch.where(ends, word, before)
    return [(torch.stack(single, dim=1), last), (torch.stack(pairs, dim=1), torch.stack(paired, dim=1))]


def _counted(hashes: list[tuple[Tensor, Tensor]]) -> Tensor:
    """(B, HASHED) of hashes (B, L), each with whether it counts."""
    first = hashes[0][0]
    counts = torch.zeros(len(first), HASHED, device=first.device)
    for hashed, counts_in in hashes:
        columns = ((hashed * MIX) >> 33) & (HASHED - 1)
        counts.scatter_add_(1, columns, counts_in.to(counts.dtype))
    weights = torch.where(counts > 0, 1 + counts.clamp_min(1).log(), 0.0)
    return functional.normalize(weights, dim=1)


class ClassicalImage(Encoder):
    """HOG and histograms of colours."""

    width = (SIDE_PX // CELL_PX - 1) ** 2 * 4 * BINS + QUARTERS**2 * SHADES**3

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(B, 3, S, S) in [0, 1], (B,) unused -> (B, width)."""
        if x.shape[-1] != SIDE_PX:
            x = functional.interpolate(x, (SIDE_PX, SIDE_PX), mode="bilinear", antialias=True)
        return torch.cat([hog(x), colours(x)], dim=1)


class ClassicalVideo(Encoder):
    """Mean and deviation over the frames of what is read of pictures."""

    width = 2 * ClassicalImage.width

    def __init__(self) -> None:
        super().__init__()
        self.picture = ClassicalImage()

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(B, N, 3, S, S) in [0, 1], (B,) frames -> (B, width)."""
        frames = self.picture(x.flatten(0, 1), lengths).unflatten(0, x.shape[:2])
        return torch.cat(_over_time(frames, lengths), dim=1)


class ClassicalAudio(Encoder):
    """MFCC and their change, summed up over the frames."""

    width = 4 * CEPSTRA

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, M) natural-log mel power, (B,) frames -> (B, width)."""
        return summarise_cepstra(x, lengths)


class ClassicalText(Encoder):
    """Words and n-grams of characters, by hash."""

    width = 2 * HASHED
    has_gradient = False
    unknown = 256  # the id that stands for a hidden byte, as of TinyText

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(B, L) byte values, (B,) bytes -> (B, width)."""
        return hash_ngrams(x, lengths)
