"""Samples that nearly repeat another in every modality they have: found, and numbered by cluster.

A medium's signature is computed once and kept in the store, by the digest of the medium. Media repeat each other when a
chain of confirmed pairs joins them; samples when they have the same modalities and each is equal or repeats the
other's. Equal media need no signature, and modalities without one (see signatures.py) count when equal only.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from data_contracts.modalities import modality_of
from data_contracts.refs import InputName, Modality
from data_contracts.tables import CONTRACT_VERSION, fingerprints_schema
from tasks import progress
from tasks.config_sections import MediaConfig
from tasks.contract import read_table
from tasks.fingerprint import code_fingerprint
from tasks.ingest.clean import content_of
from tasks.ingest.sample_rows import Rows
from tasks.ingest.splits import largest_kept
from tasks.media.media_store import MediaReader, media_fingerprint, media_index
from tasks.media.near_duplicates.candidates import join_pairs
from tasks.media.near_duplicates.signatures import Signature
from tasks.modalities import NearDuplicates, spec_of
from tasks.store import Store, digest_json

_PART_ROWS = 4096


def find_near_duplicates(
    rows: Rows, modalities: Sequence[InputName], media: MediaConfig, store: Store
) -> list[int | None]:
    """Each row's cluster of near duplicates, numbered from 0 in the order of their smallest ids, or None.

    Rows of equal content (on two sides of a given split, say) are a cluster only together with a row that differs.
    """
    recognised = tuple(name for name in modalities if spec_of(name).identifies)  # by its columns alone no sample is
    representatives = {modality: _representatives(rows, modality, media, store) for modality in recognised}
    clusters: dict[tuple[str | None, ...], list[int]] = defaultdict(list)
    contents = [content_of(row, tuple(modalities)) for row in rows]
    for place, row in enumerate(rows):
        names = zip(recognised, content_of(row, recognised), strict=True)
        key = tuple(
            None if digest is None else representatives[modality].get(digest, digest) for modality, digest in names
        )
        if any(key):
            clusters[key].append(place)
    near = [places for places in clusters.values() if len({contents[place] for place in places}) > 1]
    numbered = sorted(near, key=lambda places: min(str(rows[place]["id"]) for place in places))
    found: list[int | None] = [None] * len(rows)
    for number, places in enumerate(numbered):
        for place in places:
            found[place] = number
    return found


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


def _representatives(rows: Rows, modality: InputName, media: MediaConfig, store: Store) -> dict[str, str]:
    """Every medium that repeats another to the one that stands for them all."""
    digests = sorted({str(row[f"{modality}_digest"]) for row in rows if row.get(f"{modality}_digest") is not None})
    if len(digests) < 2:
        return {}
    measure = spec_of(modality).near_duplicates()
    if measure is None:
        return {}
    known = _signatures(digests, modality_of(modality), measure, media, store)
    judged = [digest for digest in digests if known.get(digest) is not None]
    if len(judged) < 2:
        return {}
    pairs = measure.match([found for digest in judged if (found := known[digest]) is not None])
    return join_pairs(judged, [(int(one), int(other)) for one, other in pairs])


def _signatures(
    digests: Sequence[str], modality: Modality, measure: NearDuplicates, media: MediaConfig, store: Store
) -> dict[str, Signature | None]:
    """The signatures of the media, read from the store or made and kept there."""
    fingerprint = media_fingerprint(modality, media)
    code = code_fingerprint("near_duplicates")
    version = digest_json({"media": fingerprint, "code": code, "contract": CONTRACT_VERSION})
    place = f"signatures/{modality}/{version[:16]}"
    requested = set(digests)
    known: dict[str, Signature | None] = {}
    for part in store.parts(place):
        for row in read_table(store.path(part)).to_pylist():
            if row["digest"] in requested:
                known[row["digest"]] = None if row["form"] is None else Signature(row["code"], row["form"])
    index = media_index(store, modality, fingerprint, ("digest", "shape")).to_pylist()
    worth = {row["digest"] for row in index if row["digest"] in requested and measure.is_compared(row["shape"])}
    missing = worth - known.keys()
    reader = MediaReader(store, modality, fingerprint)
    made: list[dict[str, Any]] = []
    for done, (digest, medium) in enumerate(reader.read(missing), start=1):
        found = known[digest] = measure.sign(medium, reader.rate_hz)
        made.append({"digest": digest, "code": found and found.code, "form": found and found.form})
        if len(made) == _PART_ROWS or done == len(missing):
            progress.report(f"compare {modality}", done, len(missing))
            _keep(made, place, store)
            made = []
    _keep(made, place, store)
    return known


def _keep(made: list[dict[str, Any]], place: str, store: Store) -> None:
    if made:
        ordered = sorted(made, key=lambda row: str(row["digest"]))
        key = digest_json([row["digest"] for row in ordered])[:16]
        store.put_part(place, key, pa.Table.from_pylist(ordered, schema=fingerprints_schema()))
