"""The attacks of benchmarks.chaos in their short form: a few of each kind, and nothing ends wrongly."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

ATTACKS = ("kills=3", "publish_kills=3", "at_once=1", "flips=6", *(["full_disks=1"] if os.geteuid() == 0 else []))
"""Only root mounts a small disk."""


@pytest.mark.slow
def test_nothing_ends_wrongly() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.chaos", *ATTACKS, "--verbose"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "processes left behind: 0" in done.stdout
    for attack in ATTACKS:
        assert f"| {attack.replace('=', ' ')} | " in done.stdout
