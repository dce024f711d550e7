"""Brings every medium of the raw table into the store in canonical form; only sources not seen before are decoded."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from data_contracts.modalities import modality_of
from data_contracts.refs import InputName, Modality
from data_contracts.tables import media_schema, value_column
from tasks import progress
from tasks.config import RunConfig
from tasks.contract import read_table
from tasks.ingest.manifest.addresses import Place
from tasks.ingest.manifest.media_files import INLINE, split_inline
from tasks.ingest.rejected_row import Refused
from tasks.ingest.sample_rows import codes_of
from tasks.ingest.sources.isolated import read_inline
from tasks.ingest.sources.limits import ReadLimits, read_limits
from tasks.ingest.sources.remote import Remote, is_remote, make_remote
from tasks.media.media_store import MediaWriter, media_fingerprint, media_index
from tasks.media.pool import Decoded, Job, decode_all
from tasks.redaction import is_redacted
from tasks.store import Store

Addresses = Callable[[InputName, Collection[Place]], Iterable[tuple[Place, str]]]
"""addresses(input, rows) gives the rows with what their cells name, as the manifest has it."""
_OUTCOME = ("source", "digest", "reason", "detail", "warning")
_SLICE_ROWS = 1_000


def decode_media(
    path: Path,
    modalities: tuple[InputName, ...],
    config: RunConfig,
    store: Store,
    workers: int,
    also: Collection[int] = (),
    addresses: Addresses = lambda name, rows: (),
) -> dict[InputName, pa.Table]:
    """What decoding gave, per input, for every source in the raw table at `path` but those of rows with a reason: a table of
    `source`, `digest`, or `reason` and `detail`, and `warning`.

    A source is decoded once for all inputs of a kind.

    `also`: positions of rows to decode even so. `addresses`: of media whose address the raw table has without its signature. An
    interruption keeps what is decoded.
    """
    kinds = {modality: media_fingerprint(modality, config.media) for modality in map(modality_of, modalities)}
    writers = {modality: MediaWriter(store, modality, fingerprint) for modality, fingerprint in kinds.items()}
    wanted = _sources(path, modalities)
    known = {kind: _known(store, kind, fingerprint, wanted[kind]) for kind, fingerprint in kinds.items()}
    seen = {kind: [outcomes["source"].combine_chunks()] for kind, outcomes in known.items()}
    new: list[tuple[InputName, NDArray[np.int64]]] = []
    for name in modalities:
        sources = seen[modality_of(name)]
        raw = read_table(path, [f"{name}_sha256", "reason"])
        places = _new_places(raw, name, pa.concat_arrays(sources), also)
        sources.append(raw[f"{name}_sha256"].take(pa.array(places)).combine_chunks())
        new.append((name, places))
    del known, seen, sources, raw
    totals: Counter[Modality] = Counter()
    for name, places in new:
        totals[modality_of(name)] += len(places)
    limits, remote = read_limits(config), make_remote(config)
    jobs = (job for name, places in new for job in _jobs(path, name, places, limits, remote, addresses))
    done = decode_all(jobs, config.media.model_dump(mode="json"), workers)
    passing: dict[Modality, list[dict[str, object]]] = {modality: [] for modality in kinds}
    try:
        with contextlib.closing(
            done
        ):  # an exception here must end the decoding processes now, not when it is forgotten
            for outcome in _reported(done, totals):
                writers[outcome.job.modality].add(outcome)
                if outcome.transient:
                    result = {name: outcome.header.get(name) for name in _OUTCOME}
                    passing[outcome.job.modality].append(result | {"source": outcome.job.sha256})
    finally:
        for writer in writers.values():
            writer.flush()
    outcomes = {kind: _known(store, kind, fingerprint, wanted[kind]) for kind, fingerprint in kinds.items()}
    schema = pa.schema([media_schema().field(name) for name in _OUTCOME])
    return {
        name: pa.concat_tables(
            [outcomes[modality_of(name)], pa.Table.from_pylist(passing[modality_of(name)], schema=schema)]
        )
        for name in modalities
    }


def _sources(path: Path, modalities: tuple[InputName, ...]) -> dict[Modality, pa.Array]:
    """The sources that the rows name, of all inputs of a kind."""
    columns: dict[Modality, list[pa.Array]] = {}
    for name in modalities:
        column = read_table(path, [f"{name}_sha256"]).column(0).combine_chunks()
        columns.setdefault(modality_of(name), []).append(column.drop_null())
    return {kind: pa.concat_arrays(arrays).unique() for kind, arrays in columns.items()}


def _known(store: Store, modality: Modality, fingerprint: str, sources: pa.Array) -> pa.Table:
    return media_index(store, modality, fingerprint, _OUTCOME, sources).replace_schema_metadata(None)


def _reported(done: Iterator[Decoded], totals: Mapping[Modality, int]) -> Iterator[Decoded]:
    counts: Counter[Modality] = Counter()
    for outcome in done:
        input_name = outcome.job.modality
        counts[input_name] += 1
        if counts[input_name] % 50 == 0 or counts[input_name] == totals[input_name]:
            progress.report(f"decode {input_name}", counts[input_name], totals[input_name])
        yield outcome


def _new_places(raw: pa.Table, name: InputName, known: pa.Array, also: Collection[int]) -> NDArray[np.int64]:
    """The first row of every source of an input that is to be decoded and not known."""
    sources = raw[f"{name}_sha256"].combine_chunks()
    needed = np.asarray(raw["reason"].combine_chunks().is_null())
    needed[list(also)] = True
    needed &= np.asarray(sources.is_valid()) & ~np.asarray(pc.is_in(sources, value_set=known))
    places = np.flatnonzero(needed)
    _, first = np.unique(codes_of(sources, places), return_index=True)
    return places[np.sort(first)]


def _fetched(url: str, remote: Remote) -> bytes:
    """The bytes at an address that scan has fetched before; none when it does not give them again (`changed-file`)."""
    try:
        return remote.fetch(url)
    except Refused:
        return b""


def _jobs(
    path: Path, name: InputName, places: NDArray[np.int64], limits: ReadLimits, remote: Remote, addresses: Addresses
) -> Iterator[Job]:
    """A job for the source of each of these rows of the raw table."""
    modality = modality_of(name)
    inline: dict[tuple[Any, str], dict[int, str]] = {}
    signed: dict[Place, str] = {}
    for source, where, text, place in _cells_at(path, name, places):
        if where == "":
            yield Job(modality, source, inline=str(text).encode("utf-8", "surrogatepass"))
        elif where.startswith(INLINE):
            file, column, row = split_inline(where)
            inline.setdefault((file, column), {})[row] = source
        elif is_redacted(where):
            signed[place] = source
        elif is_remote(where):
            yield Job(modality, source, inline=_fetched(where, remote))
        else:
            yield Job(modality, source, path=where)
    for (file, column), rows in inline.items():
        for number, data in read_inline(file, column, set(rows), limits):
            yield Job(modality, rows[number], inline=data)
    for place, url in addresses(name, signed) if signed else ():
        yield Job(modality, signed.pop(place), inline=_fetched(url, remote))
    for source in signed.values():  # the manifest does not name them any more
        yield Job(modality, source)


def _cells_at(path: Path, name: InputName, places: NDArray[np.int64]) -> Iterator[tuple[str, str, str | None, Place]]:
    """Digest, place and text of an input in these rows, whose positions ascend, and the row; a part of the file is in memory
    at a time.
    """
    columns = list(dict.fromkeys([f"{name}_sha256", name, value_column(name) or name]))
    first = 0
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(_SLICE_ROWS, columns=[*columns, "table", "row"], use_threads=False):
            low, high = np.searchsorted(places, (first, first + batch.num_rows))
            part = batch.take(pa.array(places[low:high] - first))
            rows = zip(part["table"].to_pylist(), part["row"].to_pylist(), strict=True)
            yield from zip(*(part[column].to_pylist() for column in (columns[0], name, columns[-1])), rows, strict=True)
            first += batch.num_rows
