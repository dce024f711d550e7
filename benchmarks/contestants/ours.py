"""crossmodal as its user would call it: `crossmodal.retrain`, the whole run, then the published model.

Fitting is all of a retrain: reading and cleaning, extraction, training, evaluation with its baselines, gate, release. Settings
are the defaults but for the encoders, the side of the pictures, regime, threads and seed.
"""

from __future__ import annotations

import csv
import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

import crossmodal
from benchmarks.contestants.exchange import Answers, Request, Row, main, measure_answers, read_rows
from benchmarks.measure import program

NAME = "peers"
SUMMARY = "summary.json"
STORE = "store"


def fit(request: Request) -> None:
    """A model is published in a store in the work folder. RuntimeError where the gate refused it."""
    work = Path(request["work"])
    settings = {
        "name": NAME,
        "seed": request["seed"],
        "data.allowed_roots": request["roots"],
        "train.threads": request["threads"],
        "train.regime": request["regime"],
        **{f"encoders.{name}": f"hf:{folder}" for name, folder in request["inputs"].items()},
        **({"encoders.image_px": request["px"]} if "image" in request["inputs"] else {}),
        **({"train.epochs": request["epochs"]} if request["regime"] == "full" else {}),
    }
    manifest = write_manifest(request, work / "manifest.csv")
    done = crossmodal.retrain(manifest, settings=settings, store=work / STORE, progress=False)
    (work / SUMMARY).write_text(json.dumps(done.summary), encoding="utf-8")
    if done.version is None:
        raise RuntimeError(f"nothing was published: {done.verdict}, {done.reason}")


def write_manifest(request: Request, target: Path) -> Path:
    """All splits in one table."""
    with target.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["id", *request["inputs"], "label", "split"])
        writer.writeheader()
        for split in request["tables"]:
            writer.writerows({**row, "split": split} for row in read_rows(request, split))
    return target


def answer(request: Request) -> Answers:
    """Of the published model; the size is that of `crossmodal models export`."""
    work = Path(request["work"])
    model = crossmodal.load(NAME, store=work / STORE)
    command = [program("crossmodal"), "models", "export", NAME, str(work / "release"), "--without-golden-rows"]
    subprocess.run([*command, "--store", str(work / STORE)], check=True, capture_output=True)

    def labels(rows: Sequence[Row]) -> list[str]:
        """The answers of the published model."""
        return [str(prediction.label) for prediction in model.predict(rows)]

    return measure_answers(request, labels, [work / "release"])


if __name__ == "__main__":
    main(fit, answer)
