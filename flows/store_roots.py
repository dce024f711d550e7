"""What of a store is still needed, and by whom: runs, profiles, and the versions of the registry."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from data_contracts.run_record import RunRecord
from flows.history import RUNS, list_runs
from flows.records import CONFIG, REFS
from flows.request import profile_files, resolve_config
from tasks.errors import UsageError
from tasks.ingest.near_duplicates.signature_store import signatures_kind
from tasks.media.media_store import media_kind
from tasks.publish.roots import PublishedVersion, Registry
from tasks.redaction import redact_json
from tasks.retention.marks import paths_of, with_parents
from tasks.store import Store

KEEP_RUNS, KEEP_DAYS = 10, 30
"""Of each model and flow so many of the newest runs, and all results that were used within so many days."""


@dataclass(frozen=True)
class Needed:
    """What is kept of a store, and why."""

    runs: dict[str, tuple[str, ...]]
    """Run to the reasons why all of it is kept."""
    marked: frozenset[str]
    """Store paths that a kept run or a version of the registry needs."""
    models: dict[str, frozenset[str]] = field(default_factory=dict)
    """Model to the store paths that its kept runs and versions need."""


def find_needed(store: Store, registry: Registry, keep_runs: int, since: float) -> Needed:
    """What the newest runs, those since a time, those of current profiles and the registry's versions need."""
    records = list_runs(store.root)
    why = reasons(records, registry.versions, _of_profiles(store, records), keep_runs, since)
    models: dict[str, set[str]] = defaultdict(set)
    for record in records:
        if record.run in why:
            models[str(record.model)] |= paths_of(_json(store, record.run, REFS), paths_of_media)
    for version in registry.versions:
        if version.needed_for:
            models[version.name] |= {*version.artifacts}
    needed = {name: frozenset(with_parents(store.root, paths)) for name, paths in models.items()}
    return Needed(why, frozenset().union(*needed.values()), needed)


def paths_of_media(modality: Any, fingerprint: str) -> tuple[str, str]:
    """Where media of these settings lie, and their signatures."""
    return media_kind(modality, fingerprint), signatures_kind(modality, fingerprint)


def reasons(
    records: Sequence[RunRecord],
    versions: Iterable[PublishedVersion],
    of_profiles: Mapping[str, str],
    keep_runs: int,
    since: float,
) -> dict[str, tuple[str, ...]]:
    """Run to why it is kept; `records` are newest first, `of_profiles` names a run's profile."""
    why: dict[str, list[str]] = defaultdict(list)
    seen: Counter[tuple[str | None, str | None]] = Counter()
    for record in records:
        which = (record.model, record.flow)
        seen[which] += 1
        if seen[which] <= keep_runs:
            why[record.run].append("one of the newest")
        if record.started.timestamp() >= since:
            why[record.run].append("recent")
        if record.run in of_profiles:
            why[record.run].append(f"profile {of_profiles[record.run]}")
    known = {record.run for record in records}
    for record in records:
        if record.run in why and record.repeats in known:
            why[str(record.repeats)].append(f"report of {record.run}")
    for version in versions:
        if version.needed_for and version.run in known:
            why[str(version.run)].append(f"{version.name} version {version.version}: {', '.join(version.needed_for)}")
    return {run: tuple(found) for run, found in why.items()}


def _of_profiles(store: Store, records: Sequence[RunRecord]) -> dict[str, str]:
    """The newest run under the settings of each profile as it is now, to the profile's name."""
    found: dict[str, str] = {}
    for name in profile_files(str(store.root)):
        try:
            config = resolve_config(name, None, (), str(store.root))
        except UsageError:  # its own runs say so; what it needs is among the newest runs
            continue
        now = redact_json(config.model_dump(mode="json"))
        same = (
            record.run for record in records if record.model == config.name and _json(store, record.run, CONFIG) == now
        )
        if (run := next(same, None)) is not None:
            found.setdefault(run, name)
    return found


def _json(store: Store, run: str, name: str) -> Any:
    """What a run left under this name; None where it is not there or cannot be read: what it made can be made again."""
    try:
        return json.loads((store.root / RUNS / run / name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
