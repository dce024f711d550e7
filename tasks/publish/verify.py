"""Published bytes, loaded in a process of their own, reproduce what the evaluation saw.

Tolerance: the files' sha256 is checked before, exactly. Here the rows are another batch than the evaluation's, and a
float32 sum depends on the batch's shape, so equal models differ by some 1e-7; a wrong weight, a swapped label or a
feature read differently moves a probability by far more than 1e-5.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
from pydantic import BaseModel

from data_contracts.refs import FeatureRef, InputName
from tasks.contract import read_table
from tasks.errors import CrossmodalError
from tasks.isolation.process import Lost, OutOfTime, Process, answers, command_of
from tasks.isolation.worker import Parent
from tasks.samples import Samples
from tasks.shared_store import open_store

TOLERANCE = 1e-5
DIFFERENT = 3
"""The status of bytes that do not reproduce the evaluation; 0 of those that do, another where that is not known."""
TIMEOUT_S = 900.0  # importing torch on a busy machine takes a minute; predicting some rows, a second
WORKER = command_of("tasks.publish.verify")


class VerifyRequest(BaseModel):
    """What to compare with what."""

    folder: str
    """With the published model.safetensors and model.json."""
    store: str
    samples: str
    """Store path of the validated samples."""
    predictions: str
    """Store path of the evaluation's predictions.parquet."""
    features: dict[InputName, FeatureRef]
    rows: int


class VerifyResult(BaseModel):
    """What was found."""

    rows: int
    difference: float | None
    """Largest absolute difference of a probability; None where it is not a number."""

    @property
    def status(self) -> int:
        """0 where the outputs agree, else DIFFERENT."""
        agrees = self.rows > 0 and self.difference is not None and self.difference <= TOLERANCE
        return 0 if agrees else DIFFERENT


def verify_apart(request: VerifyRequest, log: Path) -> tuple[int, str]:
    """The status of the published files, found by a fresh process, and its last words; it complains to `log`."""
    with Process(WORKER, os.environ, log) as process:
        try:
            process.send(request.model_dump(mode="json"))
            ((found, _),) = answers([process], all_s=TIMEOUT_S)
        except OutOfTime:
            return -1, f"no answer within {TIMEOUT_S:g} s"
        except Lost:
            ended = process.stop()
            return ended.code if ended.code not in (0, DIFFERENT) else -1, ended.last_line or "it said nothing"
        except CrossmodalError as error:
            return DIFFERENT, str(error)
    result = VerifyResult.model_validate(found)
    return result.status, result.model_dump_json()


def verify(request: VerifyRequest) -> VerifyResult:
    """The largest difference over rows spread evenly over the test rows."""
    from tasks.modeling.inference import predict_probabilities
    from tasks.modeling.package import load_model

    store = open_store(request.store)
    known = read_table(store.path(request.predictions), ["id", "probabilities"])
    known = known.take(spread(known.num_rows, request.rows))
    samples = Samples.read(store.path(request.samples)).of_split("test")
    positions = {sample: row for row, sample in enumerate(samples.ids)}
    samples = samples.take([positions[sample] for sample in known["id"].to_pylist()])
    expected = np.array(known["probabilities"].to_pylist(), dtype=np.float64)
    found = predict_probabilities(load_model(Path(request.folder)), samples, request.features, store)
    if found.shape != expected.shape:
        return VerifyResult(rows=len(expected), difference=None)
    # Numbers have any size: beyond 1 a difference is relative.
    difference = float((np.abs(found - expected) / np.maximum(np.abs(expected), 1)).max(initial=0.0))
    return VerifyResult(rows=len(expected), difference=difference if np.isfinite(difference) else None)


def spread(total: int, most: int) -> list[int]:
    """Positions of at most `wanted` of `total` rows, evenly spaced from the first to the last."""
    return sorted({int(place) for place in np.linspace(0, total - 1, min(total, most))}) if total else []


def main() -> int:
    """Answers one request."""
    parent = Parent.connect()
    request, _ = parent.receive()
    parent.watch()
    return parent.answer(lambda: parent.send(verify(VerifyRequest.model_validate(request)).model_dump(mode="json")))


if __name__ == "__main__":
    sys.exit(main())
