"""Figures of speed: what a run got done in its time. None of them is part of the weights."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from typing import TypeVar

import torch
from torch.utils.flop_counter import FlopCounterMode

from data_contracts.training_history import Throughput

T = TypeVar("T")

# Dense bf16 FLOP/s of a card, by a part of its name, from the makers' data sheets; the first match counts.
PEAK_FLOPS = {
    "H200": 989e12,
    "H100 PCIe": 756e12,
    "H100": 989e12,
    "B200": 2250e12,
    "A100": 312e12,
    "L40S": 362e12,
    "L4": 121e12,
    "A10G": 70e12,
    "A10": 125e12,
    "RTX 4090": 165e12,
    "RTX 3090": 71e12,
}


class ThroughputMeter:
    """Adds up samples and times in a dictionary that is part of the state, so that a resumed run continues to count."""

    def __init__(self, sums: dict[str, float], device: torch.device, processes: int) -> None:
        self.sums, self.device, self.processes = sums, device, processes

    def add(self, **amounts: float) -> None:
        """Adds to the named sums."""
        for name, amount in amounts.items():
            self.sums[name] = self.sums.get(name, 0.0) + amount

    def clock(self) -> float:
        """Seconds, once the device has done all queued work."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def note_memory(self) -> None:
        """Keeps the highest use of memory so far: of the GPU where there is one, else of the process."""
        if self.device.type == "cuda":
            peak = torch.cuda.max_memory_allocated(self.device)
        else:
            unit = 1 if sys.platform == "darwin" else 1024
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
        self.sums["peak_bytes"] = max(self.sums.get("peak_bytes", 0.0), float(peak))

    def figures(self) -> Throughput:
        """What history.json says; None for what cannot be known here."""
        seconds = self.sums.get("train_s", 0.0)
        samples = self.sums.get("samples", 0.0)
        on_gpu = self.device.type == "cuda"
        rate = samples / seconds if seconds else None
        flops = self.sums.get("flops", 0.0)
        each = flops / samples if flops else None
        peak = peak_flops(torch.cuda.get_device_name(self.device)) if on_gpu else None
        return Throughput(
            device=device_name(self.device),
            devices=self.processes,
            samples=int(samples),
            train_s=round(seconds, 3),
            gpu_s=round(seconds * self.processes, 3) if on_gpu else 0.0,
            samples_per_s=round(rate, 2) if rate is not None else None,
            peak_memory_mb=round(self.sums.get("peak_bytes", 0.0) / 2**20, 1),
            data_wait_share=round(self.sums.get("wait_s", 0.0) / seconds, 4) if seconds else None,
            flops_per_sample=each,
            mfu=round(rate * each / (peak * self.processes), 4) if rate and each and peak else None,
        )


def device_name(device: torch.device) -> str:
    """The GPU's own name, or `cpu`."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def peak_flops(name: str) -> float | None:
    """Dense bf16 FLOP/s of a GPU by its name; None for one that is not in the table."""
    return next((peak for part, peak in PEAK_FLOPS.items() if part in name), None)


def count_flops(step: Callable[[], T]) -> tuple[float, T]:
    """FLOPs of one call, and what it returned: two for every multiplication with addition, compiled code not counted."""
    with FlopCounterMode(display=False) as counter, torch.compiler.set_stance("force_eager"):
        result = step()
    return float(counter.get_total_flops()), result
