"""A small store with clean samples and their features, and ways to spoil them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.store import Store
from tests.support.spoiled_samples import Bench


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    store = Store(tmp_path / "store")
    store.prepare()
    return Bench(store)
