"""The machine that measurements were taken on, as one line."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path


def describe_machine(*distributions: str) -> str:
    """Processor, cores, Python and the versions that matter."""
    model = next(
        (line.split(":")[1].strip() for line in _cpuinfo() if line.startswith("model name")), platform.machine()
    )
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in distributions)
    return f"{model}, {os.cpu_count()} cores; Python {platform.python_version()}, {versions}"


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []
