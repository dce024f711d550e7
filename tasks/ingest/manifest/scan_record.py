"""The last read of a manifest, in the store: its result, which still holds while nothing that it looked at has changed."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from data_contracts.refs import RawRef
from data_contracts.tables import CONTRACT_VERSION
from tasks.config import RunConfig
from tasks.fingerprint import find_modules
from tasks.ingest.manifest.file_states import FileStates, Seen, State, state_of
from tasks.ingest.manifest.rows import Purpose
from tasks.ingest.sources.streams import format_of
from tasks.ingest.sources.tables import DELIMITED
from tasks.redaction import redact_json
from tasks.store import Store, digest_json, replacing

_WHOLE = (*DELIMITED, ".jsonl", ".ndjson", ".parquet")
"""A table of this kind in one file names all that is read with it."""
_UNREAD = {"train", "fusion", "extract", "evaluate", "gate", "publish", "runtime", "name", "seed"}
"""Sections of the config that no read of a manifest depends on."""
_SCHEMA = pa.schema(
    [
        ("path", pa.string()),
        ("inode", pa.uint64()),
        ("bytes", pa.int64()),
        ("modified_ns", pa.int64()),
        ("changed_ns", pa.int64()),
        ("sha256", pa.binary(32)),  # null for a folder, whose state is that of its list of names, and for the manifest
    ]
)


class ScanRecord:
    """In the store, the last read of this data under these settings: its states, and its result where they tell all of it."""

    def __init__(self, config: RunConfig, store: Store, data: Path, purpose: Purpose) -> None:
        self._store = store
        real = os.path.realpath(data)
        self._manifest = real if format_of(real) in _WHOLE and Path(real).is_file() else None
        settings = config.model_dump(mode="json", exclude=_UNREAD)
        roots = [os.path.realpath(root) for root in config.data.allowed_roots]
        known = [settings, str(data), real, roots, purpose, CONTRACT_VERSION, _code()]
        self._path = store.root / "work" / f"scan-{digest_json(known)[:32]}" / "states.parquet"
        self._verify = config.runtime.verify_files
        self._beside = [] if config.data.corrections is None else [os.path.realpath(config.data.corrections)]

    def unchanged(self) -> RawRef | None:
        """The result of the last read, where nothing that it looked at has changed since, and it is still in the store."""
        if self._verify or self._manifest is None:
            return None
        try:
            table = self._table()
            said = json.loads(table.schema.metadata[b"scan"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        if said["raw"] is None or any(os.path.realpath(folder) != real for folder, real in said["links"].items()):
            return None
        columns = [table[name].to_pylist() for name in _SCHEMA.names]
        if any(state_of(path) != tuple(state) for path, *state in zip(*columns[:-1], strict=True)):
            return None
        raw = RawRef.model_validate(redact_json(said["raw"]))
        kind, _, key = raw.uri.rpartition("/")
        return None if self._store.find(kind, key) is None else raw

    def states(self) -> FileStates:
        """What is known before the next read, which notes there what it looks at."""
        states = FileStates({} if self._verify else self._read())
        if self._manifest is None:
            states.is_whole = False
        else:
            for path in (self._manifest, *self._beside):
                states.note_place(path)
        return states

    def _table(self) -> pa.Table:
        with pq.ParquetFile(self._path, page_checksum_verification=True) as file:
            return file.read()

    def _read(self) -> dict[str, Seen]:
        try:
            table = self._table()
            columns = [table[name].to_pylist() for name in _SCHEMA.names]
        except (OSError, ValueError, KeyError):
            return {}
        return {path: (State(*state), sha256) for path, *state, sha256 in zip(*columns, strict=True)}

    def keep(self, states: FileStates, raw: RawRef) -> None:
        """The states are in the store, with the result where they tell all that it depends on."""
        if not states.seen:
            return
        result = raw.model_dump(mode="json") if states.is_whole and self._manifest is not None else None
        said = json.dumps({"raw": result, "links": states.links})
        rows = [(path, *state, sha256) for path, (state, sha256) in states.seen.items()]
        columns = [pa.array(cells, kind) for cells, kind in zip(zip(*rows, strict=True), _SCHEMA.types, strict=True)]
        table = pa.table(columns, schema=_SCHEMA.with_metadata({"scan": said}))
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(self._path) as scratch:
            pq.write_table(table, scratch, compression="zstd", write_page_checksum=True)


def _code() -> str:
    """The digest of the modules that read manifests, as they are written: another word costs one more read."""
    names = ("tasks.ingest.manifest.*", "tasks.ingest.sources.*", "tasks.problems.*", "tasks.labels")
    return digest_json([hashlib.sha256(path.read_bytes()).hexdigest() for _, path in sorted(find_modules(names))])
