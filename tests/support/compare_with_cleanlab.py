"""Our confident learning against the authors' own library, on stored probabilities.

cleanlab is under the AGPL: nothing here imports it but this program, which is run by hand in an environment of its own:

    python -m venv /tmp/cleanlab && /tmp/cleanlab/bin/pip install cleanlab==2.9.0
    PYTHONPATH=. /tmp/cleanlab/bin/python tests/support/compare_with_cleanlab.py          compares, and prints both
    PYTHONPATH=. /tmp/cleanlab/bin/python tests/support/compare_with_cleanlab.py --write  stores its figures

What it found lies in tests/support/cleanlab_figures.json, by which tests/stages/audit/test_confident_learning.py holds ours.
The probabilities are drawn from a seed by numpy's PCG64, whose stream is kept the same between versions.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

FIGURES = Path(__file__).with_name("cleanlab_figures.json")
CASES = {
    "small": (60, 3, 0.2, 0),
    "rare class": (200, 4, 0.1, 1),
    "many": (1500, 10, 0.08, 2),
    "clean": (150, 3, 0.0, 3),
}
"""Rows, classes, share of wrong labels, seed."""


def make_case(rows: int, classes: int, noise: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(N, C) probabilities of rows whose given label (N,) is wrong now and then; a class is rarer the higher its number."""
    rng = np.random.default_rng(seed)
    share = 1 / (1 + np.arange(classes))
    true = rng.choice(classes, rows, p=share / share.sum())
    true[:classes] = np.arange(classes)
    logits = rng.normal(0, 1, (rows, classes))
    logits[np.arange(rows), true] += 2.5
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    wrong = rng.random(rows) < noise
    given = np.where(wrong, (true + rng.integers(1, classes, rows)) % classes, true)
    given[:classes] = np.arange(classes)
    return raised / raised.sum(axis=1, keepdims=True), given.astype(np.int64)


def figures_of_cleanlab(probabilities: np.ndarray, given: np.ndarray) -> dict[str, object]:
    """What it says of a case."""
    from cleanlab.count import compute_confident_joint, get_confident_thresholds
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_normalized_margin_for_each_label, get_self_confidence_for_each_label

    flagged = find_label_issues(given, probabilities, filter_by="confident_learning", n_jobs=1)
    return {
        "thresholds": np.round(get_confident_thresholds(given, probabilities), 9).tolist(),
        "joint": compute_confident_joint(given, probabilities, calibrate=False).tolist(),
        "flagged": np.flatnonzero(flagged).tolist(),
        "self_confidence": round(float(get_self_confidence_for_each_label(given, probabilities).sum()), 9),
        # theirs is (margin + 1) / 2
        "margin": round(float(2 * get_normalized_margin_for_each_label(given, probabilities).sum() - len(given)), 9),
    }


def main() -> None:
    """Prints every case's figures by both; exits with 1 where they differ."""
    from tasks.audit.confident_learning import learn, margin, self_confidence

    differing, found = [], {}
    for name, case in CASES.items():
        probabilities, given = make_case(*case)
        theirs = found[name] = figures_of_cleanlab(probabilities, given)
        learned = learn(probabilities, given)
        ours = {
            "thresholds": np.round(learned.thresholds, 9).tolist(),
            "joint": learned.joint.tolist(),
            "flagged": np.flatnonzero(learned.flagged).tolist(),
            "self_confidence": round(float(self_confidence(probabilities, given).sum()), 9),
            "margin": round(float(margin(probabilities, given).sum()), 9),
        }
        for what, value in theirs.items():
            same = np.shape(value) == np.shape(ours[what]) and np.allclose(value, ours[what], atol=1e-7)
            print(f"{name:<12} {what:<16} {'equal' if same else f'cleanlab {value}, ours {ours[what]}'}")
            differing += [] if same else [(name, what)]
    if "--write" in sys.argv:
        FIGURES.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    sys.exit(bool(differing))


if __name__ == "__main__":
    main()
