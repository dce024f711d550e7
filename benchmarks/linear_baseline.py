"""The head on frozen features against its linear baseline: scikit-learn's logistic regression on the same features.

    python -m benchmarks.linear_baseline [--px 160] [--seeds 3] [--store DIR]
    python -m benchmarks.linear_baseline --classical        also a linear SVM and naive Bayes

9,000 / 1,000 / 2,000 CIFAR-10 pictures, embedded once by a frozen mobilenet_v2. The head is trained with the defaults; the
baseline's C, and the SVM's, is chosen on the validation rows. The differences on the same 2,000 test rows stand beside them,
with a paired bootstrap interval. Left out of the seconds: reading the pictures and embedding them.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.measure import machine
from benchmarks.training_run import train_and_evaluate
from data_contracts.baselines import LinearBaseline
from flows.data_stages import extract_features, prepare
from flows.request import make_request, resolve_config
from flows.run_state import RunState
from flows.stages import Stages
from tasks.evaluate.baseline_tables import Table
from tasks.evaluate.linear_baseline import fit_linear_baseline, read_tables

NETWORK = "torchvision:mobilenet_v2"
ALLOWED_POINTS = -0.5
"""How far below its linear baseline a head may stay."""
SVM_GRID = (1e-5, 1e-4, 1e-3, 1e-2)


def main() -> None:
    """Prints the head's test figures over the seeds, and those of the linear models on the same features."""
    parser = argparse.ArgumentParser(description="The head against a linear baseline")
    parser.add_argument("--data", default="../shared/data/cifar10_12k/manifest.csv")
    parser.add_argument("--weights", default="../shared/weights/mobilenet_v2-imagenet.safetensors")
    parser.add_argument("--px", type=int, default=160, help="side of the pictures as the network sees them")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="of the head")
    parser.add_argument("--classical", action="store_true", help="also a linear SVM and naive Bayes")
    parser.add_argument("--store", help="keep what is computed here; a broken run goes on from it")
    options = parser.parse_args()
    print(machine("torch", "torchvision", "scikit-learn"), flush=True)
    settings = [f"encoders.image={NETWORK}@{Path(options.weights).resolve()}", f"encoders.image_px={options.px}"]
    with ExitStack() as stack:
        store = Path(options.store or stack.enter_context(tempfile.TemporaryDirectory()))
        heads(options.data, [*settings, *options.set], options.seeds, store)
        classical(options.data, settings, store, options.classical)


def heads(data: str, settings: list[str], seeds: int, store: Path) -> None:
    """Trains a head for each seed and says how far it stands from the linear baseline."""
    print(
        "\n| seed | head | its macro F1 | baseline | head - baseline (95 %) | best epoch | training |"
        "\n|---|---|---|---|---|---|---|"
    )
    gaps = []
    for seed in range(seeds):
        run = train_and_evaluate(data, [*settings, f"seed={seed}"], store)
        baseline = run.report.linear_baseline
        assert isinstance(baseline, LinearBaseline)
        gap, low, high = (100 * value for value in baseline.differences["accuracy"])
        gaps.append(gap)
        f1 = run.report.metrics["test"]["macro_f1"] or 0.0
        print(
            f"| {seed} | {100 * run.accuracy:.2f} % | {100 * f1:.2f} % | {100 * (baseline.metrics['accuracy'] or 0):.2f} % "
            f"(C = {baseline.c:g}) | {gap:+.2f} [{low:+.2f}, {high:+.2f}] | {run.history['best_epoch']} of "
            f"{len(run.history['epochs'])} | {run.train_s:.1f} s |",
            flush=True,
        )
        for note in baseline.notes:
            print(f"note: {note}")
    verdict = "as demanded" if min(gaps) >= ALLOWED_POINTS else "NOT as demanded"
    print(
        f"\nlowest {min(gaps):+.2f}, mean {statistics.mean(gaps):+.2f} points: {verdict} (at least {ALLOWED_POINTS:+g})"
    )


def classical(data: str, settings: list[str], store: Path, more: bool) -> None:
    """Times the baseline; with `more`, other classifiers of scikit-learn on the same table."""
    config = resolve_config(None, data, settings)
    request = make_request(config, str(store), None, "benchmark")
    valid = prepare(request, config, Stages(), RunState())
    features = extract_features(valid, config, request.store, Stages(), RunState())
    labels = valid.clean.labels
    start = time.perf_counter()
    fitted = fit_linear_baseline(valid, features, labels, 0, request.store)
    took = time.perf_counter() - start
    assert fitted is not None
    tables = read_tables(valid, features, labels, request.store)
    right = float((fitted.probabilities.argmax(axis=1) == tables["test"].truth).mean())
    print(
        f"\nlogistic regression: {100 * right:.2f} %, {took:.1f} s for the grid up to C = {fitted.c:g} and two beyond"
    )
    if more:
        for name, reached, seconds in others(tables):
            print(f"{name}: {100 * reached:.2f} %, {seconds:.1f} s", flush=True)


def others(tables: dict[str, Table]) -> Iterator[tuple[str, float, float]]:
    """(name, test accuracy, seconds) of a linear SVM, its C chosen on the validation rows, and of naive Bayes."""
    from sklearn.naive_bayes import GaussianNB
    from sklearn.svm import LinearSVC

    grid: dict[str, list[Any]] = {
        "linear SVM": [LinearSVC(C=c, dual=False, tol=1e-3) for c in SVM_GRID],
        "naive Bayes (Gaussian)": [GaussianNB(var_smoothing=smoothing) for smoothing in (1e-9, 1e-2, 1e-1)],
    }
    train, val, test = tables["train"], tables["val"], tables["test"]
    for name, models in grid.items():
        start = time.perf_counter()
        fitted = [model.fit(train.features, train.truth) for model in models]
        best = max(fitted, key=lambda model: float(model.score(val.features, val.truth)))
        yield name, float(best.score(test.features, test.truth)), time.perf_counter() - start


if __name__ == "__main__":
    main()
