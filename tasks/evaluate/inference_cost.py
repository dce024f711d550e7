"""Inference cost: the time from decoded media to answer, the size of the model, and energy where it can be read.

Measurements of this machine at this moment: they stand in a run's summary and report, and in no artifact or digest.
"""

from __future__ import annotations

import ctypes
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from data_contracts.modalities import modality_of
from data_contracts.refs import CheckpointRef, FeatureRef, InputName, Split, ValidatedRef
from data_contracts.run_summary import InferenceSummary
from tasks.config import RunConfig
from tasks.evaluate.media_reading import FeatureMaker, read_media, with_features
from tasks.modeling.card import read_card
from tasks.modeling.features import Inputs
from tasks.modeling.inference import predict_inputs
from tasks.modeling.package import WEIGHTS, load_model
from tasks.modeling.pretrained.weights import frozen_encoder
from tasks.modeling.profile import choose
from tasks.samples import Samples
from tasks.store import Store

BATCH_ROWS = 32
THREADS = 1
"""Of the network, as flows/serving/predictor.py answers; frozen encoders take a batch on every core."""
REPEATS = (3, 20)
"""At least and at most, after one that warms up."""
ENOUGH_S = 0.5
"""No further repeat after so long."""
POWERCAP = Path("/sys/class/powercap")


def measure_inference(
    checkpoint: CheckpointRef,
    valid: ValidatedRef,
    features: dict[InputName, FeatureRef],
    config: RunConfig,
    store: Store,
    split: Split = "test",
) -> InferenceSummary:
    """Medians of one row of the split and of a batch of them, with all the media that they have."""
    folder = store.path(checkpoint.uri)
    card = read_card(folder)
    model = load_model(folder, card)
    samples = choose(Samples.read(store.path(valid.uri)).of_split(split), BATCH_ROWS)
    media = {name: read_media(samples, name, valid.clean.media, store) for name in card.modalities if name in features}
    makers = [FeatureMaker.of(name, card, folder, config) for name in media]

    def answer(rows: int) -> None:
        """The first rows are answered."""
        inputs = Inputs({}, {}, rows)
        for maker in makers:
            inputs = with_features(inputs, maker.name, maker.make(media[maker.name][:rows]))
        predict_inputs(model, inputs, threads=THREADS)

    meter = find_meter()
    row_ms, _ = _median_ms(lambda: answer(1))
    before_j = meter.read_j()
    batch_ms, repeats = _median_ms(lambda: answer(len(samples)))
    after_j = meter.read_j()
    # All repeats and the one before them have taken it.
    energy = None if before_j is None or after_j is None else (after_j - before_j) / ((repeats + 1) * len(samples))
    frozen = {
        spec.weights_sha256: frozen_encoder(modality_of(maker.name), spec)
        for maker in makers
        if (spec := maker.spec).reads == "embedding"
    }
    numbers = [number for encoder in frozen.values() for number in encoder.parameters()]
    return InferenceSummary(
        row_ms=round(row_ms, 3),
        batch_ms=round(batch_ms, 3),
        batch_rows=len(samples),
        threads=THREADS,
        device=torch.cuda.get_device_name() if frozen and torch.cuda.is_available() else "cpu",
        parameters=sum(number.numel() for number in [*model.parameters(), *numbers]),
        frozen_parameters=sum(number.numel() for number in numbers),
        size_bytes=(folder / WEIGHTS).stat().st_size + sum(number.nbytes for number in numbers),
        energy_j=None if energy is None or energy < 0 else round(energy, 6),  # a counter that began anew says nothing
        energy_source=meter.source,
    )


def _median_ms(work: Callable[[], None]) -> tuple[float, int]:
    """Of one call, after one that warms up, and how many were timed."""
    work()
    took: list[float] = []
    least, most = REPEATS
    while len(took) < least or (len(took) < most and sum(took) < ENOUGH_S):
        began = time.perf_counter()
        work()
        took.append(time.perf_counter() - began)
    return 1000 * statistics.median(took), len(took)


@dataclass(frozen=True)
class Meter:
    """A counter of energy."""

    source: str
    """What it counts, or why there is none."""
    read_j: Callable[[], float | None]
    """Joules since some moment; None where there is none."""


def find_meter(powercap: Path = POWERCAP) -> Meter:
    """The GPU's by NVML, else that of the CPU's packages by RAPL, each with all that runs there."""
    if torch.cuda.is_available() and (gpu := _nvml_counter()) is not None:
        return Meter("NVML, the whole GPU", gpu)
    counters = sorted(powercap.glob("intel-rapl:[0-9]*/energy_uj"))
    packages = [path for path in counters if path.parent.name.count(":") == 1]  # 0:1 is a part of 0
    if not packages:
        return Meter(f"not readable: no counter of RAPL below {powercap}", lambda: None)

    def read_j() -> float:
        """Of all packages."""
        return sum(int(path.read_text()) for path in packages) / 1e6

    try:
        read_j()
    except (OSError, ValueError) as error:
        return Meter(f"not readable: {packages[0]} ({type(error).__name__})", lambda: None)
    return Meter("RAPL, the whole CPU", read_j)


def _nvml_counter() -> Callable[[], float | None] | None:
    """nvmlDeviceGetTotalEnergyConsumption of the first GPU, in joules; None where the driver has none."""
    try:
        nvml = ctypes.CDLL("libnvidia-ml.so.1")
        device = ctypes.c_void_p()
        if nvml.nvmlInit_v2() or nvml.nvmlDeviceGetHandleByIndex_v2(0, ctypes.byref(device)):
            return None
    except (OSError, AttributeError):
        return None

    def read_j() -> float | None:
        """Since the driver was loaded."""
        millijoules = ctypes.c_ulonglong()
        failed = nvml.nvmlDeviceGetTotalEnergyConsumption(device, ctypes.byref(millijoules))
        return None if failed else millijoules.value / 1000

    return None if read_j() is None else read_j
