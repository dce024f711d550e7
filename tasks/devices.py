"""What training will run on, known without torch: from what the driver lists."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tasks.config import TrainConfig

DRIVER = Path("/proc/driver/nvidia/gpus")
NODES = tuple(map(Path, ("/proc/driver/nvidia", "/dev/nvidiactl", "/dev/dxg", "/dev/kfd")))
"""What Linux has where torch could find a GPU: of NVIDIA's driver, of Windows' below WSL, of AMD's."""

_limit: list[int] = []
"""Threads of this process, where it was told how many."""


def use_cores(count: int) -> None:
    """From now on this process, one of several on its machine, has so many threads where it had one for each core."""
    _limit[:] = [count]


def usable_cores() -> int:
    """How many threads this process computes on."""
    return _limit[0] if _limit else os.cpu_count() or 1


def may_have_gpu() -> bool:
    """False where torch need not be imported, which takes seconds, to know that it would find no GPU."""
    return sys.platform != "linux" or any(node.exists() for node in NODES)


def visible_gpus() -> list[str]:
    """Names of the GPUs that this process may use."""
    found = sorted(DRIVER.glob("*/information")) if DRIVER.is_dir() else []
    names = [_model(path) for path in found]
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is None:
        return names
    places = [part.strip() for part in chosen.split(",") if part.strip() not in ("", "-1")]
    return [names[int(place)] if place.isdigit() and int(place) < len(names) else place for place in places]


def _model(path: Path) -> str:
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("Model:")), path.parent.name)


def describe_device(train: TrainConfig) -> tuple[bool, str]:
    """(whether it suits the config, what training will run on)."""
    gpus = visible_gpus() if train.device == "auto" else []
    if gpus:
        text = f"{len(gpus)} GPU: {', '.join(dict.fromkeys(gpus))}"
        if train.devices > len(gpus):
            return False, f"{text}; train.devices = {train.devices} are asked for: lower it, or set train.device=cpu"
        return True, f"{text}, of which {train.devices} trains" if len(gpus) > 1 else text
    cores = os.cpu_count() or 1
    threads = train.threads * train.devices
    text = f"CPU, {threads} threads on {cores} cores" + ("" if train.device == "cpu" else "; no GPU is listed here")
    if threads > cores:
        return False, f"{text}: they will wait for each other; lower train.threads or train.devices"
    return True, text
