"""The command line in this process."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from flows.cli import main


@dataclass
class Ran:
    """What a command left: its exit status, its JSON line, and what it said on stderr."""

    status: int
    json: Any
    err: str


@pytest.fixture
def crossmodal(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_settings: list[str]
) -> Callable[..., Ran]:
    """crossmodal("retrain", "--plain", ...) with a store of its own, small settings and --json."""
    monkeypatch.chdir(tmp_path)
    for name in ("MLFLOW_TRACKING_URI", "CROSSMODAL_STORE"):
        monkeypatch.delenv(name, raising=False)

    def call(command: str, *arguments: str, small: bool = True) -> Ran:
        settings = small_settings if small else []
        with pytest.raises(SystemExit) as stop:
            main([*command.split(), *settings, *arguments, "--store", str(tmp_path / "store"), "--json"])
        out, err = capsys.readouterr()
        status = stop.value.code
        assert isinstance(status, int)
        return Ran(status, json.loads(out.splitlines()[-1]) if out.strip() else None, err)

    return call
