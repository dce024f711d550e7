"""Fixed descriptions of what small encoders read, made without a label: a linear model can then classify the rows.

A frozen encoder's embedding describes a row by itself. What an encoder from scratch reads (pixels, spectra, bytes) does not;
training one for every fold would take as long as several retrains. Pictures and spectra are described by how strongly their
parts resemble typical patches (Coates, Lee and Ng, 2011, "An Analysis of Single-Layer Networks in Unsupervised Feature
Learning": k-means with the triangle activation), texts by the n-grams of their characters (tf-idf).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.modeling.features import FeatureTable

Floats = NDArray[np.float32]

PATCHES = 160
"""Typical patches that are learned: the more the better, with falling returns (Coates, Lee and Ng, fig. 4)."""
PATCH_PX = 6
CELLS = 3
"""Resemblances are averaged within 3 x 3 parts of a picture, so that it still says where."""
MOST_PX = 32
"""Longer sides are shrunk to this by averaging."""
SAMPLED_PATCHES = 40_000
FRAMES = 8
"""Of a clip, evenly spaced; each is described, and the mean and the deviation over them taken."""
NGRAMS = (1, 4)
NGRAM_FEATURES = 20_000


def describe(table: FeatureTable, seed: int) -> Any:
    """(R, D) a row for each feature of the table: dense float32, or for texts a sparse matrix of SciPy."""
    inner = table.values.ndim - 1
    if inner == 0 and np.issubdtype(table.values.dtype, np.integer):
        return _ngrams(list(_cut(table)))
    if inner == 0:
        alike = table.alike
        if alike is None:
            raise ValueError(f"{table.modality}: vectors of several lengths are no description")
        return np.asarray(alike.reshape(len(table.lengths), -1), np.float32)
    return _patches([_as_pictures(each) for each in _cut(table)], table.values.ndim == 4, seed)


def _cut(table: FeatureTable) -> Iterator[NDArray[Any]]:
    for start, length in zip(table.starts.tolist(), table.lengths.tolist(), strict=True):
        yield table.values[start : start + length]


def _as_pictures(feature: NDArray[Any]) -> Floats:
    """(F, H, W, C) of a spectrum (T, M), a picture (H, W, C) or a clip (N, H, W, C), no side longer than MOST_PX."""
    if feature.ndim == 2:
        pictures = feature[None, :, :, None]
    elif feature.ndim == 3:
        pictures = feature[None]
    else:
        pictures = feature[np.linspace(0, len(feature) - 1, min(FRAMES, len(feature))).round().astype(int)]
    shrunk = _shrink(_shrink(pictures.astype(np.float32), 1), 2)
    short = [max(0, PATCH_PX - side) for side in shrunk.shape[1:3]]
    return np.pad(shrunk, ((0, 0), (0, short[0]), (0, short[1]), (0, 0)), mode="edge")


def _shrink(pictures: Floats, axis: int) -> Floats:
    """The same with at most MOST_PX entries along an axis, each the mean of those that it stands for."""
    size = pictures.shape[axis]
    if size <= MOST_PX:
        return pictures
    edges = np.linspace(0, size, MOST_PX + 1).astype(int)
    counts = np.diff(edges).reshape([-1 if place == axis else 1 for place in range(4)])
    return np.asarray(np.add.reduceat(pictures, edges[:-1], axis=axis) / counts, np.float32)


# -- pictures and spectra ---


def _patches(clips: Sequence[Floats], in_time: bool, seed: int) -> Floats:
    """(R, D): how strongly each cell of a picture resembles each of the typical patches; of pictures `in_time` both their mean
    and their deviation."""
    from sklearn.cluster import MiniBatchKMeans
    from threadpoolctl import threadpool_limits

    rng = np.random.default_rng(seed)
    each = max(1, SAMPLED_PATCHES // max(len(clips), 1))
    drawn = [rng.permutation(found)[:each] for clip in clips if len(found := _normalise(_windows(clip)[0]))]
    sample = np.concatenate(drawn)
    mean, whitening = _whitening(sample)
    with threadpool_limits(1):  # the order of a sum depends on their number
        found = MiniBatchKMeans(min(PATCHES, len(sample)), random_state=seed, n_init=1, batch_size=4096, max_iter=20)
        centres = np.asarray(found.fit((sample - mean) @ whitening).cluster_centers_, np.float32)
        described = [_resemble(clip, mean, whitening, centres) for clip in clips]
    if in_time:
        return np.stack([np.concatenate([each.mean(axis=0), each.std(axis=0)]) for each in described])
    return np.concatenate(described)


def _windows(clip: Floats) -> tuple[Floats, tuple[int, int, int]]:
    """(F * A * B, size * size * C) every patch of a clip's frames, and (F, A, B)."""
    views = np.lib.stride_tricks.sliding_window_view(clip, (PATCH_PX, PATCH_PX), axis=(1, 2))
    frames, height, width = views.shape[:3]
    return views.reshape(frames * height * width, -1), (frames, height, width)


def _normalise(patches: Floats) -> Floats:
    """Mean 0, and deviation 1 but for those that are nearly flat: brightness and contrast of a patch drop out."""
    centred = patches - patches.mean(axis=1, keepdims=True)
    spread = centred.std(axis=1, keepdims=True)
    flat = 0.04 * max(float(np.abs(patches).max(initial=0.0)), 1e-6)  # Coates, Lee and Ng add 10 of 255
    return np.asarray(centred / np.sqrt(spread**2 + flat**2), np.float32)


def _whitening(sample: Floats) -> tuple[Floats, Floats]:
    """The mean of the patches, and what makes their directions equally strong (ZCA)."""
    mean = sample.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov(sample - mean, rowvar=False))
    scale = 1 / np.sqrt(np.maximum(values, 0) + 0.1 * max(float(values.mean()), 1e-6))
    return mean.astype(np.float32), np.asarray((vectors * scale) @ vectors.T, np.float32)


def _resemble(clip: Floats, mean: Floats, whitening: Floats, centres: Floats) -> Floats:
    """(F, CELLS * CELLS * PATCHES) of one clip's frames."""
    patches, (frames, height, width) = _windows(clip)
    white = (_normalise(patches) - mean) @ whitening
    squares = (white**2).sum(axis=1, keepdims=True) - 2 * white @ centres.T + (centres**2).sum(axis=1)
    distances = np.sqrt(np.maximum(squares, 0))
    strength = np.maximum(distances.mean(axis=1, keepdims=True) - distances, 0).reshape(frames, height, width, -1)
    rows, columns = (np.linspace(0, size, CELLS + 1).astype(int) for size in (height, width))
    cells = [
        strength[:, top : max(bottom, top + 1), left : max(right, left + 1)].mean(axis=(1, 2))
        for top, bottom in zip(np.minimum(rows[:-1], height - 1), rows[1:], strict=True)
        for left, right in zip(np.minimum(columns[:-1], width - 1), columns[1:], strict=True)
    ]
    return np.concatenate(cells, axis=1)


# -- texts ---


def _ngrams(sequences: Sequence[NDArray[Any]]) -> Any:
    """(R, D) tf-idf of the n-grams of bytes, or of tokens, each of which is then a character."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    is_bytes = all(sequence.dtype == np.uint8 for sequence in sequences)
    texts = [
        sequence.tobytes().decode("utf-8", "replace") if is_bytes else "".join(map(_character, sequence.tolist()))
        for sequence in sequences
    ]
    vectors = TfidfVectorizer(
        analyzer="char", ngram_range=NGRAMS, sublinear_tf=True, max_features=NGRAM_FEATURES, dtype=np.float32
    )
    return vectors.fit_transform([text or "\x00" for text in texts])


def _character(token: int) -> str:
    """A character of its own for each token; none is a surrogate."""
    return chr(token if token < 0xD800 else min(token + 0x800, 0x10FFFF))
