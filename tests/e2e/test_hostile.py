"""Every broken or strange file of the shared data comes out as its index expects, within a bound of memory."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.shared
def test_every_hostile_file_is_as_expected(shared_data: Path) -> None:
    # In a process of its own: its peak of memory is what is measured, not what other tests have loaded.
    command = [sys.executable, "-m", "benchmarks.hostile", "--data", str(shared_data / "hostile")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    message = re.search(r"(\d+) of (\d+) as expected; slowest \S+ [\d.]+ s; peak (\d+) MB", done.stdout)
    assert message is not None, done.stdout
    assert (message[1], message[2]) == ("205", "205"), done.stdout
    assert int(message[3]) < 1000
