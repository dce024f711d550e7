"""What an audit finds of labels that were made wrong, and what retraining with its corrections wins back.

    python -m benchmarks.audit [--only avdigits,cifar10_12k] [--seeds 1] [--store DIR] [--set KEY=VALUE]

8 % of the train labels are replaced by another class, drawn by the seed. Precision and recall are of corrections.csv,
applied unread: a person who looks through it does better. Accuracy is on the test rows, whose labels are right, of a model
trained on the right labels, on the wrong ones, and on the corrected ones, by one seed. CPU: of the audit, from an empty store.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import TINY, machine, program, time_command
from benchmarks.training_run import train_and_evaluate

SHARE = 0.08
MIN_PRECISION, MIN_RECALL, MIN_RECOVERED = 0.8, 0.7, 0.8
"""What was asked for."""
WEIGHTS = Path("../shared/weights/mobilenet_v2-imagenet.safetensors")
SETTINGS = {
    "avdigits": [*TINY, "train.epochs=8"],
    "cifar10_12k": [f"encoders.image=torchvision:mobilenet_v2@{WEIGHTS.resolve()}", "encoders.image_px=160"],
}


@dataclass(frozen=True)
class Outcome:
    """One data set under one seed."""

    flagged: int
    precision: float
    recall: float
    suggested: float
    """Of the wrong labels that were found, those whose suggestion is the right one."""
    accuracy: tuple[float, float, float]
    """Of the right labels, the wrong ones, and the corrected ones."""
    cpu_s: float

    @property
    def recovered(self) -> float:
        """Of the accuracy that was lost."""
        right, wrong, corrected = self.accuracy
        return (corrected - wrong) / (right - wrong) if right > wrong else float("nan")

    def line(self, name: str, seed: int) -> str:
        """One row of the table."""
        accuracy = " | ".join(f"{100 * value:.2f} %" for value in self.accuracy)
        return (
            f"| {name} | {seed} | {self.flagged} | {self.precision:.1%} | {self.recall:.1%} | {self.suggested:.1%} "
            f"| {accuracy} | {self.recovered:.0%} | {self.cpu_s:.0f} s |"
        )


def main() -> None:
    """Prints a table, and whether each figure is as demanded."""
    parser = argparse.ArgumentParser(description="Wrong labels found and put right")
    parser.add_argument("--only", default=",".join(SETTINGS))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--store", help="keep what is computed here; a broken run goes on from it")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="settings")
    options = parser.parse_args()
    print(machine("numpy", "scikit-learn", "torch"), flush=True)
    print(
        "| data | seed | flagged | precision | recall | suggestion right | right labels | wrong | corrected | won back | CPU |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    with ExitStack() as stack:
        place = Path(options.store or stack.enter_context(tempfile.TemporaryDirectory()))
        for name in options.only.split(","):
            for seed in range(options.seeds):
                found = measure(name, seed, place / f"{name}-{seed}", options.settings)
                print(found.line(name, seed), flush=True)
                print(f"  {judge(found)}", flush=True)


def measure(name: str, seed: int, place: Path, settings: Sequence[str]) -> Outcome:
    """Labels made wrong, audited, and corrected; everything is written below `place`."""
    source = Path(f"../shared/data/{name}/manifest.csv").resolve()
    right, wrong = place / "right.csv", place / "wrong.csv"
    place.mkdir(parents=True, exist_ok=True)
    truth = write_manifests(source, right, wrong, seed)
    asked = [f"data.allowed_roots={json.dumps([str(source.parent)])}", f"seed={seed}", *SETTINGS[name], *settings]
    flags = [part for setting in asked for part in ("--set", setting)]
    command = [program("crossmodal"), "audit", "--data", str(wrong), "--store", str(place / "audit"), "--json", *flags]
    timed = time_command(command)
    corrections = (place / "audit" / timed.summary["report"]).with_name("corrections.csv")
    lines = list(csv.DictReader(corrections.open(encoding="utf-8")))
    hits = [line for line in lines if line["id"] in truth]
    suggested = sum(truth[line["id"]] == line["new_label"] for line in hits)
    accuracy = [
        train_and_evaluate(str(data), [*asked, f"name={name}", *more], place / "runs").accuracy
        for data, more in ((right, []), (wrong, []), (wrong, [f"data.corrections={corrections}"]))
    ]
    return Outcome(
        flagged=len(lines),
        precision=len(hits) / max(len(lines), 1),
        recall=len(hits) / len(truth),
        suggested=suggested / max(len(hits), 1),
        accuracy=(accuracy[0], accuracy[1], accuracy[2]),
        cpu_s=timed.cpu_s,
    )


def write_manifests(source: Path, right: Path, wrong: Path, seed: int) -> dict[str, str]:
    """The manifest as it is and with wrong train labels, its media by their full paths; id to the right label."""
    with source.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row.update({key: str(source.parent / row[key]) for key in ("image_path", "audio_path") if row.get(key)})
    write_rows(right, rows)
    labels, rng = sorted({row["label"] for row in rows}), random.Random(seed)
    train = [row for row in rows if row["split"] == "train"]
    truth = {}
    for row in rng.sample(train, round(SHARE * len(train))):
        truth[row["sample_id"]] = row["label"]
        row["label"] = rng.choice([label for label in labels if label != row["label"]])
    write_rows(wrong, rows)
    return truth


def write_rows(path: Path, rows: Sequence[dict[str, str]]) -> None:
    """A CSV file of these rows."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def judge(found: Outcome) -> str:
    """Whether it is as demanded."""
    demands = {
        "precision": (found.precision, MIN_PRECISION),
        "recall": (found.recall, MIN_RECALL),
        "won back": (found.recovered, MIN_RECOVERED),
    }
    missed = [f"{name} {value:.1%} < {least:.0%}" for name, (value, least) in demands.items() if not value >= least]
    return f"MISSED: {', '.join(missed)}" if missed else "as demanded"


if __name__ == "__main__":
    main()
