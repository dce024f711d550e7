"""Stages that are computed although the store has their results: `retrain --refresh` and `run-stage`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, get_args

import pyarrow as pa
import pyarrow.compute as pc

from data_contracts.refs import CleanRef, RawRef
from data_contracts.run_summary import ExtractedOn
from flows.request import Request
from tasks.config import RunConfig
from tasks.contract import read_table
from tasks.errors import UsageError
from tasks.extract.shards import ShardRef
from tasks.store import Store

if TYPE_CHECKING:  # which load what every stage needs
    from flows.stages import Stages

StageName = Literal["ingest", "validate", "extract", "train", "evaluate", "gate", "publish"]
STAGE_KINDS: dict[str, tuple[str, ...]] = {
    "ingest": ("raw", "clean", "media"),
    "validate": ("validations",),
    "extract": ("features",),
    "train": ("checkpoints",),
    "evaluate": ("evaluations",),
    "gate": ("verdicts",),
}
"""Stage to the folders of the store that hold its results. What publish does is in the registry, not in the store."""
_COLUMNS = {"media": ("source", ["source", "digest", "reason"]), "features": ("digest", ["digest", "shape", "values"])}
"""Of parts: what a row is known by, and what must be equal."""


def require_stages(names: Iterable[str], known: Iterable[str] = STAGE_KINDS) -> tuple[str, ...]:
    """The names, when all of them are stages. Raises UsageError."""
    known = list(known)
    chosen = tuple(dict.fromkeys(names))
    for name in chosen:
        if name not in known:
            raise UsageError(f"stage {name!r}: does not exist here; stages are {', '.join(known)}")
    return chosen


def all_stages() -> tuple[str, ...]:
    """Every stage, in order."""
    return get_args(StageName)


def refreshing(stages: Stages, request: Request) -> Stages:
    """The stages, with what `request.refresh` names hidden from them until it is computed anew."""
    chosen = require_stages(request.refresh)
    if not chosen:
        return stages
    request.store.refresh(*(kind for name in chosen for kind in STAGE_KINDS[name]))

    def ingest(raw: RawRef, config: RunConfig, store: Store) -> CleanRef:
        """The samples; media that were computed anew have taken the place of those of before."""
        clean = stages.ingest(raw, config, store)
        settle_parts(request.store, "media")
        return clean

    def extract(shards: list[ShardRef], config: RunConfig, store: Store) -> ExtractedOn | None:
        """The shards are computed; what was computed from features that now have other values is hidden, too."""
        extracted_on = stages.extract(shards, config, store)
        # A feature's ref tells what it was computed from, not its values: what reads those does not notice by itself.
        if not settle_parts(store, "features"):
            store.refresh(*STAGE_KINDS["validate"], *STAGE_KINDS["train"], *STAGE_KINDS["evaluate"])
        return extracted_on

    return replace(stages, ingest=ingest, extract=extract)


def settle_parts(store: Store, kind: Literal["media", "features"]) -> bool:
    """The parts of before that were computed anew are gone; whether what is in their place is equal to them."""
    key, columns = _COLUMNS[kind]
    same = True
    folders = {path.parent.relative_to(store.root).as_posix() for path in (store.root / kind).rglob("*.parquet")}
    for folder in sorted(folders):
        earlier, now = store.hidden_parts(folder), store.parts(folder)
        for old in earlier:
            compared = [_compare(store, old, new, key, columns) for new in now]
            if any(found is not None for found in compared):
                store.discard_parts([old])
                same = same and all(found in (None, True) for found in compared)
    return same


def _compare(store: Store, old: str, new: str, key: str, columns: list[str]) -> bool | None:
    """Whether the rows that two parts share are equal; None where they share none."""
    known = read_table(store.path(old), [key])[key]
    shared = pc.filter(known, pc.is_in(known, value_set=read_table(store.path(new), [key])[key].combine_chunks()))
    if len(shared) == 0:
        return None
    return bool(_rows(store, old, shared, key, columns).equals(_rows(store, new, shared, key, columns)))


def _rows(store: Store, part: str, chosen: pa.ChunkedArray, key: str, columns: list[str]) -> pa.Table:
    table = read_table(store.path(part), columns)
    kept = table.filter(pc.is_in(table[key], value_set=chosen.combine_chunks()))
    return kept.take(pc.sort_indices(kept[key])).combine_chunks().replace_schema_metadata(None)
