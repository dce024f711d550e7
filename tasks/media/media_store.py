"""Canonical media in the store: Parquet parts of `media/<modality>/<fingerprint>`, one row per distinct source."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypedDict

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from data_contracts.refs import Modality
from data_contracts.tables import CONTRACT_VERSION, media_schema
from tasks.config_sections import MediaConfig
from tasks.contract import read_table, read_tables
from tasks.errors import EnvironmentFailed
from tasks.fingerprint import code_fingerprint
from tasks.media.pool import Decoded
from tasks.modalities import MODALITIES
from tasks.part_index import parts_among, read_tables_among
from tasks.store import Store, digest_json

_PART_ROWS = 8192
_PART_BYTES = 64 << 20


def media_fingerprint(modality: Modality, config: MediaConfig) -> str:
    """Digest of everything that shapes the canonical form: the decoder's code, its settings, its libraries."""
    spec = MODALITIES[modality]
    settings = {key: getattr(config, key) for key in spec.media_keys}
    code = code_fingerprint("media", modules=spec.media_modules, libraries=spec.libraries)
    return digest_json({"modality": modality, "params": settings, "code": code, "contract": CONTRACT_VERSION})


def media_kind(modality: Modality, fingerprint: str) -> str:
    """The store folder of a modality's canonical media."""
    return f"media/{modality}/{fingerprint[:16]}"


class MediaWriter:
    """Collects outcomes and writes them as parts; what is written survives a kill."""

    def __init__(self, store: Store, modality: Modality, fingerprint: str) -> None:
        self._store = store
        self._kind = media_kind(modality, fingerprint)
        self._rows: list[dict[str, object]] = []
        self._bytes = 0

    def add(self, outcome: Decoded) -> None:
        """Keeps one outcome; a transient failure is left out, so that the next run tries again."""
        if outcome.transient:
            return
        row = {name: outcome.header.get(name) for name in ("digest", "shape", "rate_hz", "warning", "reason", "detail")}
        self._rows.append(row | {"source": outcome.job.sha256, "data": outcome.data or None})
        self._bytes += len(outcome.data)
        if len(self._rows) >= _PART_ROWS or self._bytes >= _PART_BYTES:
            self.flush()

    def flush(self) -> None:
        """Writes what has been collected."""
        if self._rows:
            rows = sorted(self._rows, key=lambda row: str(row["source"]))
            key = digest_json([row["source"] for row in rows])[:16]
            self._store.put_part(self._kind, key, pa.Table.from_pylist(rows, schema=media_schema()))
        self._rows, self._bytes = [], 0


def media_index(
    store: Store, modality: Modality, fingerprint: str, columns: tuple[str, ...], among: pa.Array | None = None
) -> pa.Table:
    """The named columns of all stored media of a modality, or of those whose first one is `among` these; no rows when there are
    none.
    """
    if among is None:
        paths = [store.path(part) for part in store.parts(media_kind(modality, fingerprint))]
        tables = list(read_tables(paths, columns))
    else:
        tables = list(media_parts(store, modality, fingerprint, columns, among))
    return pa.concat_tables(tables) if tables else pa.schema(map(media_schema().field, columns)).empty_table()


def media_parts(
    store: Store, modality: Modality, fingerprint: str, columns: tuple[str, ...], among: pa.Array
) -> Iterator[pa.Table]:
    """As media_index of those that are `among` these, some at a time."""
    paths = [store.path(part) for part in store.parts(media_kind(modality, fingerprint))]
    return read_tables_among(paths, columns, among)


def media_sizes(index: pa.Table, modality: Modality) -> NDArray[np.float64]:
    """(M,) of stored media, in the unit of their modality."""
    size = MODALITIES[modality].size
    return np.fromiter(
        (
            size(row["shape"], row["rate_hz"] or 0)
            for batch in index.select(["shape", "rate_hz"]).to_batches(max_chunksize=10_000)
            for row in batch.to_pylist()
        ),
        np.float64,
        len(index),
    )


class _Stored(TypedDict):
    """What is read of a stored medium."""

    digest: str
    shape: list[int]
    data: bytes
    rate_hz: int | None


class MediaReader:
    """Looks canonical media up by digest."""

    def __init__(self, store: Store, modality: Modality, fingerprint: str) -> None:
        self._modality = modality
        self._parts = [store.path(part) for part in store.parts(media_kind(modality, fingerprint))]
        self.rate_hz = 0
        """Sample rate of the sounds read so far."""

    def get(self, digest: str) -> np.ndarray | str:
        """One medium: image uint8 (H, W, 3), video uint8 (N, H, W, 3), audio int16 (T,), or the text.

        EnvironmentFailed when it is not stored.
        """
        for _, medium in self.read([digest]):
            return medium
        raise EnvironmentFailed(f"{self._modality} {digest[:12]}: not in the store; run again to decode it anew")

    def read(self, digests: Iterable[str]) -> Iterator[tuple[str, np.ndarray | str]]:
        """Yields (digest, medium) once for each wanted digest that is stored, part by part."""
        remaining = set(digests)
        for path in parts_among(self._parts, "digest", pa.array(list(remaining), pa.string())):
            if not remaining:
                return
            here = read_table(path, ["digest"])["digest"].to_pylist()
            rows: list[int] = []
            for row, digest in enumerate(here):
                if digest in remaining:
                    rows.append(row)
                    remaining.discard(digest)
            if rows:
                columns = ["digest", "shape", "data", "rate_hz"]
                table = read_table(path, columns).take(rows)
                for start in range(0, table.num_rows, 256):
                    for row_values in table.slice(start, 256).to_pylist():
                        yield row_values["digest"], self._restore(row_values)

    def _restore(self, row: _Stored) -> np.ndarray | str:
        self.rate_hz = row["rate_hz"] or self.rate_hz
        medium: np.ndarray | str = MODALITIES[self._modality].restore(row["data"], row["shape"])
        return medium
