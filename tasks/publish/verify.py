"""Published bytes, loaded in a process of their own, reproduce what the evaluation saw.

`python -P -m tasks.publish.verify REQUEST.json`: exit status 0 when they do, 3 when they do not; the last line on
stdout is JSON with the number of rows and the largest difference.

Tolerance: the files' sha256 is checked before, exactly. Here the rows are another batch than the evaluation's, and a
float32 sum depends on the batch's shape, so equal models differ by some 1e-7; a wrong weight, a swapped label or a
feature read differently moves a probability by far more than 1e-5.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from pydantic import BaseModel

from data_contracts.refs import FeatureRef, InputName
from tasks.contract import read_table
from tasks.errors import CrossmodalError
from tasks.samples import Samples
from tasks.store import Store

TOLERANCE = 1e-5
DIFFERENT = 3


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


def verify(request: VerifyRequest) -> VerifyResult:
    """The largest difference over rows spread evenly over the test rows."""
    from tasks.modeling.inference import predict_probabilities
    from tasks.modeling.package import load_model

    store = Store(request.store)
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


def spread(total: int, wanted: int) -> list[int]:
    """Positions of at most `wanted` of `total` rows, evenly spaced from the first to the last."""
    return sorted({int(place) for place in np.linspace(0, total - 1, min(total, wanted))}) if total else []


def main(path: str) -> int:
    """Runs the request in a file."""
    request = VerifyRequest.model_validate_json(Path(path).read_text(encoding="utf-8"))
    try:
        result = verify(request)
    except CrossmodalError as error:
        print(json.dumps({"error": str(error)}))
        return DIFFERENT
    print(result.model_dump_json())
    agrees = result.rows > 0 and result.difference is not None and result.difference <= TOLERANCE
    return 0 if agrees else DIFFERENT


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
