"""How much a store holds, of what and for whom: what `crossmodal store status` prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from flows.history import RUNS, list_runs
from flows.store_roots import Needed, find_needed
from tasks.display_table import DisplayTable
from tasks.errors import UsageError
from tasks.object_leases import held_leases
from tasks.object_storage import ObjectStorage
from tasks.publish.roots import Registry, read_registry
from tasks.retention.inventory import DiskUsage, Item, list_items
from tasks.shared_store import SharedStore
from tasks.store import Store

_MODELS = "mlartifacts"
_BESIDE = (_MODELS, RUNS, "scores", "profiles", "prefect", "work", "tmp", "trash")
"""Of these only the size is known; the rest is one line."""


@dataclass(frozen=True)
class KindStatus:
    """One kind of content."""

    kind: str
    number: int | None
    bytes: int
    needed_bytes: int | None
    """Of what runs, profiles or the registry need; None where that is not asked."""
    oldest: str | None
    """When what was used the longest ago was used last, in UTC."""


@dataclass(frozen=True)
class ModelStatus:
    """What there is because of one model."""

    model: str
    runs: int
    versions: int
    needed_versions: int
    """That an alias stands for, or could be given back to."""
    bytes: int
    """Of its published versions, its runs' reports, and results that no other model needs."""
    oldest_run: str | None


@dataclass(frozen=True)
class BucketStatus:
    """What machines share."""

    address: str
    bytes: int
    objects: Mapping[str, tuple[int, int]]
    """What they are, to their number and bytes."""
    leases: Mapping[str, str]
    """Of work that is done now, to who does it; or did, for whoever died released none."""

    def tables(self) -> tuple[DisplayTable, DisplayTable]:
        """By what the objects are, and the leases."""
        objects = DisplayTable.of(
            {"objects": name, "number": number, "MB": _mb(size)} for name, (number, size) in self.objects.items()
        )
        return objects, DisplayTable.of({"lease": name, "held by": holder} for name, holder in self.leases.items())


@dataclass(frozen=True)
class StoreStatus:
    """The whole store."""

    store: str
    bytes: int
    needed_bytes: int
    """Of results; what is not needed is deleted by gc once it has not been used for a while."""
    kinds: tuple[KindStatus, ...]
    models: tuple[ModelStatus, ...]
    mlflow_deleted: int
    """Runs that were deleted in MLflow, whose files `mlflow gc` removes."""
    bucket: BucketStatus | None
    """What it is the cache of."""

    def as_json(self) -> Mapping[str, object]:
        """For scripts."""
        return asdict(self)

    def tables(self) -> tuple[DisplayTable, DisplayTable]:
        """By kind, and by model."""
        kinds = DisplayTable.of(
            {
                "kind": one.kind,
                "number": one.number,
                "MB": _mb(one.bytes),
                "needed MB": _mb(one.needed_bytes),
                "oldest use": one.oldest,
            }
            for one in self.kinds
        )
        models = DisplayTable.of(
            {
                "model": one.model,
                "runs": one.runs,
                "versions": f"{one.versions}, {one.needed_versions} needed",
                "MB": _mb(one.bytes),
                "oldest run": one.oldest_run,
            }
            for one in self.models
        )
        return kinds, models


def find_status(store: Store, tracking_uri: str, keep_runs: int, since: float) -> StoreStatus:
    """What the store holds. UsageError where there is none; EnvironmentFailed where the registry does not answer."""
    if not store.root.is_dir():
        raise UsageError(f"store {store.root}: is not a folder; name the store with --store")
    registry, usage = read_registry(store, tracking_uri), DiskUsage()
    needed = find_needed(store, registry, keep_runs, since)
    items = list_items(store.root, usage)
    beside = {name: usage.of(store.root / name) for name in _BESIDE if (store.root / name).exists()}
    rest = usage.of(store.root)
    kinds = [*_kinds(items, needed), *(KindStatus(name, None, size, None, None) for name, size in beside.items())]
    kinds.append(KindStatus("databases and others", None, rest, None, None))
    return StoreStatus(
        store=str(store.root),
        bytes=sum(one.bytes for one in kinds),
        needed_bytes=sum(one.needed_bytes or 0 for one in kinds),
        kinds=tuple(kinds),
        models=tuple(_models(store, registry, needed, items)),
        mlflow_deleted=len(registry.deleted_runs),
        bucket=_bucket(store.shared.storage) if isinstance(store, SharedStore) else None,
    )


def _bucket(storage: ObjectStorage) -> BucketStatus:
    objects: dict[str, tuple[int, int]] = {}
    for name, size in storage.sizes("").items():
        folders = name.split("/")[:-1] or [name]
        kind = "/".join(folders[:2] if folders[0] in ("parts", "records") else folders[:1])
        number, before = objects.get(kind, (0, 0))
        objects[kind] = number + 1, before + size
    return BucketStatus(storage.address, sum(size for _, size in objects.values()), objects, held_leases(storage))


def _kinds(items: Sequence[Item], needed: Needed) -> list[KindStatus]:
    found = []
    for kind in dict.fromkeys(item.uri.partition("/")[0] for item in items):
        own = [item for item in items if item.uri.partition("/")[0] == kind]
        marked = sum(item.bytes for item in own if item.uri in needed.marked)
        found.append(
            KindStatus(kind, len(own), sum(item.bytes for item in own), marked, _day(min(i.used for i in own)))
        )
    return found


def _models(store: Store, registry: Registry, needed: Needed, items: Sequence[Item]) -> list[ModelStatus]:
    records = list_runs(store.root)
    names = {
        *needed.models,
        *(str(one.model) for one in records if one.model),
        *(one.name for one in registry.versions),
    }
    found = []
    for name in sorted(names):
        runs = [record for record in records if record.model == name]
        versions = [version for version in registry.versions if version.name == name]
        others = frozenset().union(*(paths for other, paths in needed.models.items() if other != name))
        alone = needed.models.get(name, frozenset()) - others
        folders: list[Path] = [store.root / _MODELS / name, *(store.root / RUNS / record.run for record in runs)]
        folders += [store.root / item.uri for item in items if item.uri in alone]
        usage = DiskUsage()
        found.append(
            ModelStatus(
                model=name,
                runs=len(runs),
                versions=len(versions),
                needed_versions=sum(bool(version.needed_for) for version in versions),
                bytes=sum(usage.of(folder) for folder in folders),
                oldest_run=_day(min(record.started.timestamp() for record in runs)) if runs else None,
            )
        )
    return found


def _day(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M}"


def _mb(size: int | None) -> str | None:
    return None if size is None else f"{size / 1e6:,.2f}"
