"""Work in a process of its own gives what it gives in this one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tasks.errors import EnvironmentFailed
from tasks.isolation.own_process import LARGE_ROWS, run_apart
from tasks.samples import SAMPLES
from tasks.store import Store
from tasks.validate.results import SuiteResult
from tasks.validate.validate import check_samples
from tests.support.spoiled_samples import Bench, good_rows


def end_process(path: Path) -> SuiteResult:
    os._exit(9)


def say_process(path: Path) -> SuiteResult:
    return SuiteResult(str(os.getpid()), ())


def test_only_a_large_table_has_a_process_of_its_own(tmp_path: Path) -> None:
    assert run_apart(LARGE_ROWS - 1, "validated", say_process, tmp_path).name == str(os.getpid())
    assert run_apart(LARGE_ROWS, "validated", say_process, tmp_path).name != str(os.getpid())


def test_a_process_that_dies_is_a_failure_of_the_machine(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFailed, match="the process that validated 1,000,000 rows died; it may need more"):
        run_apart(1_000_000, "validated 1,000,000 rows", end_process, tmp_path)


@pytest.mark.slow  # Great Expectations is imported once more
def test_the_outcomes_are_the_same(tmp_path: Path) -> None:
    bench = Bench(Store(tmp_path / "store"))
    bench.store.prepare()
    clean = bench.clean(good_rows())
    stored = bench.store.path(clean.uri) / SAMPLES
    assert run_apart(1_000_000, "validated", check_samples, stored, clean) == check_samples(stored, clean)
