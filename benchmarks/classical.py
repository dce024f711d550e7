"""Small data: the `tiny` encoders against classical features, what `auto` makes of the two, and the logistic regression that
every report shows.

    python -m benchmarks.classical [--rows 500 1200] [--seeds 3] [--only image audio text image+audio]
                                   [--encoders tiny classical auto] [--pictures cifar10_12k/manifest.csv]
                                   [--set KEY=VALUE] [--store DIR]

Pictures of cifar10_12k, sounds of avdigits (test speakers unseen in training), captions of which half name the class
(benchmarks/captions.py), and pictures of avdigits with their sounds, each subset drawn by data.max_rows. Test rows choose
nothing. CPU seconds are of extraction and training; those of `auto` are the sum of all its encoders' where the same call, or an
earlier one on the same store, has trained them, and measured where it is the only one (--encoders auto).
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from contextlib import ExitStack
from pathlib import Path

from benchmarks.captions import write_manifest
from benchmarks.measure import machine
from benchmarks.training_run import TrainingRun, train_and_evaluate
from data_contracts.modalities import ALL_MODALITIES

ENCODERS = ("tiny", "classical", "auto")
SETS = ("image", "audio", "text", "image+audio")


def main() -> None:
    """Prints a table: a line for each set, its size and each encoder."""
    parser = argparse.ArgumentParser(description="Small networks against classical features on few rows")
    parser.add_argument("--shared", default="../shared/data")
    parser.add_argument("--rows", type=int, nargs="+", default=[500, 1200])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=SETS, default=list(SETS[:3]))
    parser.add_argument("--encoders", nargs="+", choices=ENCODERS, default=list(ENCODERS))
    parser.add_argument("--pictures", default="cifar10_12k/manifest.csv", help="below --shared")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="of every training")
    parser.add_argument("--store", help="keep what is computed here; a broken run goes on from it")
    options = parser.parse_args()
    print(machine("torch", "scikit-learn"), flush=True)
    print("| set | rows: train, test | encoder | accuracy, mean (each) | val loss (each) | classical floor | CPU s |")
    print("|---|---|---|---|---|---|---|", flush=True)
    with ExitStack() as stack:
        store = Path(options.store or stack.enter_context(tempfile.TemporaryDirectory()))
        store.mkdir(parents=True, exist_ok=True)
        for kind in options.only:
            data = find_data(kind, Path(options.shared).resolve(), options.pictures, store)
            name = "captions" if kind == "text" else data.parent.name if data.is_file() else data.name
            kinds = kind.split("+")
            others = [f"encoders.{other}=off" for other in ALL_MODALITIES if other not in kinds]
            common = [*others, f'data.allowed_roots=["{Path(options.shared).resolve()}"]', *options.set]
            for rows in options.rows:
                for encoder in options.encoders:
                    settings = [*common, "split.near_duplicates=false", f"data.max_rows={rows}"]
                    settings += [f"encoders.{one}={encoder}" for one in kinds]
                    runs = [
                        train_and_evaluate(str(data), [*settings, f"seed={seed}"], store)
                        for seed in range(options.seeds)
                    ]
                    print(_line(name, kind, encoder, runs), flush=True)


def find_data(kind: str, shared: Path, pictures: str, store: Path) -> Path:
    """The manifest of a modality."""
    if "audio" in kind:
        return shared / "avdigits/manifest.csv"
    return shared / pictures if kind == "image" else write_manifest(shared / "cifar10_12k", store / "captions.csv")


def _line(name: str, kind: str, encoder: str, runs: list[TrainingRun]) -> str:
    reached = [100 * run.accuracy for run in runs]
    floors = [
        100 * (run.report.classical.by_inputs[kind].metrics["accuracy"] or 0) for run in runs if run.report.classical
    ]
    fitted = runs[0].report.classical.by_inputs[kind].rows if runs[0].report.classical else 0
    each = ", ".join(
        f"{value:.1f}{f' {run.chosen}' if run.chosen else ''}" for value, run in zip(reached, runs, strict=True)
    )
    sizes = f"{fitted:,}, {runs[0].report.rows:,}"
    losses = ", ".join(f"{_val_loss(run):.3f}" for run in runs)
    return (
        f"| {name}, {kind} | {sizes} | {encoder} | {statistics.mean(reached):.1f} ({each}) | {losses} | "
        f"{statistics.mean(floors):.1f} | {statistics.mean(run.cpu_s for run in runs):.0f} |"
    )


def _val_loss(run: TrainingRun) -> float:
    best = run.history["best_epoch"]
    return next(float(epoch["val_loss"]) for epoch in run.history["epochs"] if epoch["epoch"] == best)


if __name__ == "__main__":
    main()
