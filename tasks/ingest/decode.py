"""Brings every medium of the raw table into the store in canonical form; only sources not seen before are decoded."""

from __future__ import annotations

import contextlib
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import pyarrow as pa

from data_contracts.modalities import modality_of
from data_contracts.refs import InputName, Modality
from data_contracts.tables import value_column
from tasks import progress
from tasks.config import RunConfig
from tasks.ingest.manifest.media_files import INLINE, split_inline
from tasks.ingest.rejected_row import Refused
from tasks.ingest.sources.isolated import read_inline
from tasks.ingest.sources.limits import ReadLimits, read_limits
from tasks.ingest.sources.remote import Remote, is_remote, make_remote
from tasks.media.media_store import MediaWriter, media_fingerprint, media_index
from tasks.media.pool import Decoded, Job, decode_all
from tasks.store import Store

_OUTCOME = ("source", "digest", "reason", "detail", "warning")
Outcomes = dict[str, dict[str, Any]]
"""Source digest to what decoding it gave: `digest`, or `reason` and `detail`."""
Places = dict[str, tuple[str, str | None]]
"""Source digest to where it lies and, for a text in the manifest, the text itself."""


def decode_media(
    raw: pa.Table,
    modalities: tuple[InputName, ...],
    config: RunConfig,
    store: Store,
    workers: int,
    also: Collection[int] = (),
) -> dict[InputName, Outcomes]:
    """What decoding gave, per input, for every source in the table but those of rows with a reason.

    A source is decoded once for all inputs of a kind.

    `also`: positions of rows to decode even so. An interruption keeps what is decoded.
    """
    outcomes: dict[Modality, Outcomes] = {}
    places: dict[Modality, Places] = defaultdict(dict)
    writers: dict[Modality, MediaWriter] = {}
    for input_name in modalities:
        modality = modality_of(input_name)
        if modality not in outcomes:
            fingerprint = media_fingerprint(modality, config.media)
            known = media_index(store, modality, fingerprint, _OUTCOME).to_pylist()
            outcomes[modality] = {row["source"]: row for row in known}
            writers[modality] = MediaWriter(store, modality, fingerprint)
        _add_places(places[modality], raw, input_name, outcomes[modality], also)
    limits, remote = read_limits(config), make_remote(config)
    jobs = (job for modality, wanted in places.items() for job in _jobs(wanted, modality, limits, remote))
    totals = {modality: len(wanted) for modality, wanted in places.items()}
    done = decode_all(jobs, config.media.model_dump(mode="json"), workers)
    try:
        with contextlib.closing(
            done
        ):  # an exception here must end the decoding processes now, not when it is forgotten
            for outcome in _reported(done, totals):
                writers[outcome.job.modality].add(outcome)
                result = {name: outcome.header.get(name) for name in _OUTCOME}
                outcomes[outcome.job.modality][outcome.job.sha256] = result
    finally:
        for writer in writers.values():
            writer.flush()
    return {input_name: outcomes[modality_of(input_name)] for input_name in modalities}


def _reported(done: Iterator[Decoded], totals: Mapping[Modality, int]) -> Iterator[Decoded]:
    counts: Counter[Modality] = Counter()
    for outcome in done:
        input_name = outcome.job.modality
        counts[input_name] += 1
        if counts[input_name] % 50 == 0 or counts[input_name] == totals[input_name]:
            progress.report(f"decode {input_name}", counts[input_name], totals[input_name])
        yield outcome


def _add_places(places: Places, raw: pa.Table, input_name: InputName, known: Outcomes, also: Collection[int]) -> None:
    """Adds every source of an input that is not known, at one of its places."""
    columns = [f"{input_name}_sha256", input_name, value_column(input_name) or input_name, "reason"]
    cells = zip(*(raw[name].to_pylist() for name in columns), strict=True)
    for row, (source, where, text, reason) in enumerate(cells):
        if source is not None and (reason is None or row in also) and source not in known:
            places.setdefault(source, (where, text))


def _fetched(url: str, remote: Remote) -> bytes:
    """The bytes at an address that scan has fetched before; none when it does not give them again (`changed-file`)."""
    try:
        return remote.fetch(url)
    except Refused:
        return b""


def _jobs(places: Places, modality: Modality, limits: ReadLimits, remote: Remote) -> Iterator[Job]:
    inline: dict[tuple[Any, str], dict[int, str]] = {}
    for source, (where, text) in places.items():
        if where == "":
            yield Job(modality, source, inline=str(text).encode("utf-8", "surrogatepass"))
        elif where.startswith(INLINE):
            file, column, row = split_inline(where)
            inline.setdefault((file, column), {})[row] = source
        elif is_remote(where):
            yield Job(modality, source, inline=_fetched(where, remote))
        else:
            yield Job(modality, source, path=where)
    for (file, column), rows in inline.items():
        for number, data in read_inline(file, column, set(rows), limits):
            yield Job(modality, rows[number], inline=data)
