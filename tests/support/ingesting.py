"""Runs scan and ingest on a path and returns what came of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from data_contracts.refs import CleanRef, RawRef
from tasks.config import load_config
from tasks.ingest.ingest import ingest
from tasks.ingest.manifest.rows import Purpose
from tasks.ingest.manifest.scan import scan
from tasks.store import Store


@dataclass(frozen=True)
class Ingested:
    """The refs, and the rows by id."""

    raw: RawRef
    clean: CleanRef
    samples: dict[str, dict[str, Any]]
    refused: list[dict[str, Any]]

    @property
    def reasons(self) -> dict[str, str]:
        return {row["id"]: row["reason"] for row in self.refused}


Ingest = Callable[..., Ingested]


@pytest.fixture
def run_ingest(store: Store) -> Ingest:
    """run_ingest(path, "split.val=0.2", ...) -> Ingested; nothing is too much to quarantine unless an override says so."""

    def run(path: Path, *overrides: str, purpose: Purpose = "train") -> Ingested:
        config = load_config({}, ["runtime.workers=1", "media.timeout_s=600", "data.max_quarantined=1.0", *overrides])
        raw = scan(config, store, path, purpose)
        clean = ingest(raw, config, store, purpose)
        folder = store.path(clean.uri)
        samples = pq.read_table(folder / "samples.parquet").to_pylist()
        refused = pq.read_table(folder / "quarantine.parquet").to_pylist()
        counts = clean.counts
        others = counts.quarantined + counts.duplicates + counts.unlabelled + counts.sealed
        assert counts.rows_in == counts.used + others
        assert (counts.used, others) == (len(samples), len(refused))
        assert sum(clean.splits.values()) == counts.used
        return Ingested(raw, clean, {row["id"]: row for row in samples}, refused)

    return run
