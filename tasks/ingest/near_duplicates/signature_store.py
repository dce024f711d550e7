"""The signatures of media, each computed once and kept in the store, by the digest of the medium."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, TypedDict

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_contracts.refs import Modality
from data_contracts.tables import CONTRACT_VERSION, fingerprints_schema
from tasks import progress
from tasks.config_sections import MediaConfig
from tasks.contract import read_table
from tasks.fingerprint import code_fingerprint
from tasks.media.media_store import MediaReader, media_fingerprint, media_index
from tasks.media.near_duplicates.signatures import Signatures
from tasks.modalities import NearDuplicates
from tasks.part_index import DigestPlaces
from tasks.store import Store, digest_json

Array = np.ndarray[Any, Any]
_PART_ROWS = 4096
_READ_AT_ONCE = 256
"""Media that are signed together, where that is quicker."""
_SIGNED_AT_ONCE = 1 << 17
"""Media whose digests are looked up together, as Python's strings."""


class _Signed(TypedDict):
    """A row of the stored signatures; without `code` and `form` a medium that has none."""

    digest: str
    code: bytes | None
    form: bytes | None


class _Known:
    """Signatures by position among the requested digests: matrices, as a million Python objects would take a gigabyte."""

    def __init__(self, digests: pa.Array) -> None:
        self._digests = DigestPlaces(digests)
        self._compared = np.zeros(len(digests), bool)
        self._signatures: Signatures | None = None

    def add(self, table: pa.Table) -> None:
        """Takes those of a table with fingerprints_schema that are requested."""
        places = self._digests.find(table["digest"])
        kept = np.flatnonzero((places >= 0) & np.asarray(pc.is_valid(table["form"]).combine_chunks()))
        if not len(kept):
            return
        at, table = places[kept], table.take(pa.array(kept))
        rows = [np.frombuffer(b"".join(table[name].to_pylist()), np.uint8) for name in ("code", "form")]
        if self._signatures is None:
            widths = [len(row) // len(at) for row in rows]
            self._signatures = Signatures(*(np.zeros((len(self._compared), width), np.uint8) for width in widths))
        for matrix, row in zip(self._signatures, rows, strict=True):
            matrix[at] = row.reshape(len(at), -1)
        self._compared[at] = True

    def result(self) -> tuple[Array, Signatures]:
        """(N,) positions of those that have a signature, and these."""
        places = np.flatnonzero(self._compared)
        if self._signatures is None:
            return places, Signatures(*np.empty((2, 0, 0), np.uint8))
        if len(places) < len(self._compared):
            for start in range(0, len(places), _PART_ROWS):  # in place: they may fill half the memory
                chosen = places[start : start + _PART_ROWS]
                for matrix in self._signatures:
                    matrix[start : start + len(chosen)] = matrix[chosen]
        return places, Signatures(*(matrix[: len(places)] for matrix in self._signatures))


def signatures_kind(modality: Modality, fingerprint: str) -> str:
    """The store folder of the signatures of a modality's media of this fingerprint."""
    code = code_fingerprint("near_duplicates")
    version = digest_json({"media": fingerprint, "code": code, "contract": CONTRACT_VERSION})
    return f"signatures/{modality}/{version[:16]}"


def read_signatures(
    digests: pa.Array, modality: Modality, media: MediaConfig, store: Store
) -> tuple[Array, Signatures]:
    """Positions (N,) of the media that have a signature in the store, and these: keep_signatures has put them there."""
    known = _Known(digests)
    for part in store.parts(signatures_kind(modality, media_fingerprint(modality, media))):
        known.add(read_table(store.path(part)))
    return known.result()


def keep_signatures(
    digests: pa.Array, modality: Modality, measure: NearDuplicates, media: MediaConfig, store: Store
) -> None:
    """The store has the signatures of all media that are compared; those it lacked are computed, a few thousand at a time."""
    fingerprint = media_fingerprint(modality, media)
    place = signatures_kind(modality, fingerprint)
    missing = _unsigned(digests, modality, measure, place, fingerprint, store)
    reader, done = MediaReader(store, modality, fingerprint), 0
    for start in range(0, len(missing), _SIGNED_AT_ONCE):
        signed = _sign(reader, digests.take(pa.array(missing[start : start + _SIGNED_AT_ONCE])).to_pylist(), measure)
        while rows := list(itertools.islice(signed, _PART_ROWS)):
            done += len(rows)
            progress.report(f"compare {modality}", done, len(missing))
            _keep(rows, place, store)


def _unsigned(
    digests: pa.Array, modality: Modality, measure: NearDuplicates, place: str, fingerprint: str, store: Store
) -> Array:
    """Positions of the media that are compared and have no signature yet, in the order in which they lie in the store."""
    known, wanted_places = np.zeros(len(digests), bool), DigestPlaces(digests)
    for part in store.parts(place):
        found = wanted_places.find(read_table(store.path(part), ["digest"])["digest"])
        known[found[found >= 0]] = True
    index = media_index(store, modality, fingerprint, ("digest", "shape"))
    missing = [np.empty(0, np.int64)]
    for start in range(0, len(index), _SIGNED_AT_ONCE):  # whole, its columns would be copied twice
        part = index.slice(start, _SIGNED_AT_ONCE)
        places = wanted_places.find(part["digest"])
        wanted = np.flatnonzero(places >= 0)  # the store may hold other media, of other forms
        wanted = wanted[~known[places[wanted]]]
        shapes = part["shape"].take(pa.array(wanted)).to_pylist()
        found = places[wanted[np.array([measure.is_compared(shape) for shape in shapes], bool)]]
        found = found[np.sort(np.unique(found, return_index=True)[1])]
        missing.append(found)
        known[found] = True
    return np.concatenate(missing)


def _sign(reader: MediaReader, digests: list[str], measure: NearDuplicates) -> Iterator[_Signed]:
    media = reader.read(digests)
    while some := list(itertools.islice(media, _READ_AT_ONCE if measure.sign_many else 1)):
        signed = (
            measure.sign_many([medium for _, medium in some])
            if measure.sign_many
            else [measure.sign(medium, reader.rate_hz) for _, medium in some]
        )
        for (digest, _), found in zip(some, signed, strict=True):
            yield {"digest": digest, "code": found.code if found else None, "form": found.form if found else None}


def _keep(rows: list[_Signed], place: str, store: Store) -> None:
    """The store has the rows, as a part."""
    table = pa.Table.from_pylist(sorted(rows, key=lambda row: str(row["digest"])), schema=fingerprints_schema())
    store.put_part(place, digest_json(table["digest"].to_pylist())[:16], table)
