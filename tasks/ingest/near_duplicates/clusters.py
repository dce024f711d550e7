"""Samples that nearly repeat another in every modality they have: found, and numbered by cluster.

Media repeat each other when a chain of confirmed pairs joins them; samples when they have the same modalities and each is equal
or repeats the other's. Modalities are compared one after another, the cheapest first, each only among samples that still have
a counterpart: where no other sample has the words, the sound is not compared. Equal media need no signature, and modalities
without one (see signatures.py) count when equal only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from data_contracts.modalities import modality_of
from data_contracts.refs import InputName, Modality
from tasks.config_sections import MediaConfig
from tasks.ingest.near_duplicates.signature_store import keep_signatures, read_signatures
from tasks.ingest.sample_rows import Columns, Rows, codes_of, contents_of, number_rows
from tasks.ingest.splits import largest_kept
from tasks.isolation.own_process import run_apart
from tasks.media.media_store import MediaReader, media_fingerprint
from tasks.media.near_duplicates.candidates import join_pairs
from tasks.media.near_duplicates.signatures import ReadMedia
from tasks.modalities import spec_of
from tasks.shared_store import open_store
from tasks.store import Store

Numbers = NDArray[np.int64]
_DIGESTS = "digests.parquet"


def find_near_duplicates(
    rows: Rows, columns: Columns, modalities: Sequence[InputName], media: MediaConfig, store: Store
) -> list[int | None]:
    """Each row's cluster of near duplicates, numbered from 0 in the order of their smallest ids, or None.

    Rows of equal content (on two sides of a given split, say) are a cluster only together with a row that differs.
    """
    recognised = [name for name in modalities if spec_of(name).identifies]  # by its columns alone no sample is
    if not len(rows) or not recognised:
        return [None] * len(rows)
    places = rows.places
    contents = contents_of(columns, places, modalities)
    labels = number_rows(*(codes_of(columns.array(name), places) for name in ("label", "targets")))
    labels[codes_of(columns.array("label"), places) < 0] = -1
    encoded = {name: rows.array(f"{name}_digest").dictionary_encode() for name in recognised}
    media_of = {name: np.asarray(array.indices.cast(pa.int64()).fill_null(-1)) for name, array in encoded.items()}
    measures = [(name, spec_of(name).near_duplicates()) for name in recognised]
    alike = number_rows(*(codes >= 0 for codes in media_of.values()))
    alike[np.all([codes < 0 for codes in media_of.values()], axis=0)] = -1
    for name, _ in sorted(measures, key=lambda pair: 0.0 if pair[1] is None else pair[1].cost_ms):
        left = _has_counterpart(alike, contents) & (media_of[name] >= 0)
        compared, of_media = np.unique(media_of[name][left]), _only(labels, media_of[name])
        standing = find_representatives(encoded[name].dictionary, modality_of(name), media, store, compared, of_media)
        repeated = np.append(standing, -1)[media_of[name]]
        alike = np.where(alike < 0, -1, number_rows(alike, repeated))
    near = _has_counterpart(alike, contents)
    ids = list(map(str, rows.take(np.flatnonzero(near)).cells("id")))
    numbers: dict[int, int] = {}
    for _, group in sorted(zip(ids, alike[near].tolist(), strict=True)):
        numbers.setdefault(group, len(numbers))
    return [numbers[group] if found else None for group, found in zip(alike.tolist(), near.tolist(), strict=True)]


def _has_counterpart(alike: Numbers, contents: Numbers) -> NDArray[np.bool_]:
    """(N,) whether a row of other content is in the same group; group -1 is none."""
    different = np.unique((alike + 1) << 32 | contents + 1) >> 32
    different -= 1
    counts = np.bincount(different[different >= 0], minlength=alike.max(initial=-1) + 2)
    return (alike >= 0) & (counts[alike] > 1)


def _only(labels: Numbers, media: Numbers) -> Numbers:
    """(M,) the label of all rows that have a medium; -1 where they differ, or one has none."""
    lowest = np.full(media.max(initial=-1) + 1, np.iinfo(np.int64).max)
    highest = np.full(len(lowest), -1)
    present = media >= 0
    np.minimum.at(lowest, media[present], labels[present])
    np.maximum.at(highest, media[present], labels[present])
    return np.where(lowest == highest, highest, -1)


def describe_near_duplicates(clusters: Sequence[int | None]) -> list[str]:
    """What was found, in one line; none where there is nothing to tell."""
    sizes = Counter(cluster for cluster in clusters if cluster is not None)
    if not sizes:
        return []
    largest, most = max(sizes.values()), largest_kept(len(clusters))
    kept = "them" if largest <= most else f"those of up to {most:.0f} samples"
    return [
        f"near duplicates: {sizes.total()} samples in {len(sizes)} clusters, the largest of {largest}; "
        f"the sides of a split that is not given keep {kept} together (split.near_duplicates)"
    ]


def find_representatives(
    digests: pa.Array, modality: Modality, media: MediaConfig, store: Store, compared: Numbers, labels: Numbers
) -> Numbers:
    """(M,) for each medium the one that stands for all that it repeats, itself where it is not among those compared.

    digests: (M,) the media that rows have; compared: positions among them; labels: (M,) those of their rows, -1 for none.
    """
    measure = spec_of(modality).near_duplicates()
    if measure is None or len(compared) < 2:
        return np.arange(len(digests))
    given = digests if len(compared) == len(digests) else digests.take(pa.array(compared))
    keep_signatures(given, modality, measure, media, store)
    del given
    ordered = compared[np.asarray(pc.array_sort_indices(digests.take(pa.array(compared))))]  # not as rows are
    standing = np.arange(len(digests))
    with store.scratch_dir() as folder:  # a file: what is handed over by pickle is copied twice
        pq.write_table(pa.table({"digest": digests.take(pa.array(ordered))}), folder / _DIGESTS)
        done = f"compared {len(ordered):,} media ({modality})"
        joined = run_apart(len(ordered), done, _match, folder / _DIGESTS, labels[ordered], modality, media, store.root)
    standing[ordered[joined[0]]] = ordered[joined[1]]
    return standing


def _match(path: Path, labels: Numbers, modality: Modality, media: MediaConfig, root: Path) -> Numbers:
    """(2, K) positions, among the digests in a file, of media that repeat others, and of the first of those."""
    digests = pq.read_table(path)["digest"].combine_chunks()
    measure, store = spec_of(modality).near_duplicates(), open_store(root)
    assert measure is not None
    found, signatures = read_signatures(digests, modality, media, store)
    if len(found) < 2:
        return np.empty((2, 0), np.int64)
    pairs = measure.match(signatures, _reader(digests.take(pa.array(found)), modality, media, store))
    if measure.match_of_one_label is not None:
        more = measure.match_of_one_label(signatures)
        one, other = (labels[found[more[:, side]]] for side in (0, 1))
        pairs = np.concatenate([pairs, more[(one == other) & (one >= 0)]])
    joined = join_pairs(found.tolist(), pairs.tolist())
    return np.array([list(joined), list(joined.values())], np.int64).reshape(2, -1)


def _reader(digests: pa.Array, modality: Modality, media: MediaConfig, store: Store) -> ReadMedia:
    def read(positions: Sequence[int]) -> Iterator[tuple[int, Any, int]]:
        """The media at these positions among the digests, each with its position and rate, in any order."""
        place_of = dict(zip(digests.take(pa.array(positions)).to_pylist(), positions, strict=True))
        reader = MediaReader(store, modality, media_fingerprint(modality, media))
        for digest, medium in reader.read(place_of):
            yield place_of[digest], medium, reader.rate_hz

    return read
