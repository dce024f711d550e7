"""What training from the champion's weights is worth beside training from scratch (train.continue_from = none, champion, auto).

    python -m benchmarks.warm_start [--data digits|cifar10] [--shares 1,5,10] [--seeds 3] [--rows 4000] [--shared ../shared]

For every seed and share a champion is trained from scratch on the train rows without that share of new ones; then all of them
are trained on from scratch, from it, and by auto. Compared on the validation rows, which are the same for all. digits: the
profile, whose encoders are trained. cifar10: heads on embeddings of a frozen mobilenet_v2. CPU seconds are those of the
training stage with its process, its start included; reading and embedding is left out. One thread.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from benchmarks.heads import source
from benchmarks.measure import TINY, machine
from benchmarks.training_run import cpu_s
from data_contracts.refs import ChampionRef, CheckpointRef
from data_contracts.training_history import Epoch, TrainingHistory
from flows.data_stages import extract_to_train, prepare
from flows.request import make_request, resolve_config
from flows.run_state import RunState
from flows.stages import Stages
from tasks.ingest.sources.resolve import locate_data
from tasks.modeling.training_rows import ROWS, write_rows
from tasks.reporting.artifacts import read_history
from tasks.samples import Samples
from tasks.store import Store, digest_json
from tasks.train.request import TrainRequest
from tasks.train.train import train

KINDS = ("none", "champion", "auto")


@dataclass(frozen=True)
class Trained:
    """One training: what it reached on the validation rows, and what it took."""

    request: TrainRequest
    checkpoint: CheckpointRef
    history: TrainingHistory
    seconds: float

    @property
    def accuracy(self) -> float:
        """On the validation rows, in the epoch that is kept."""
        return float((self._best.model_extra or {})["val_accuracy"] or 0)

    @property
    def loss(self) -> float:
        """Of the same epoch."""
        return self._best.val_loss

    @property
    def _best(self) -> Epoch:
        return self.history.epochs[self.history.best_epoch - 1]


def train_once(
    profile: str | None, data: Path, settings: list[str], kind: str, champion: ChampionRef | None, store: Store
) -> Trained:
    """A model trained on a manifest, from what this kind of `train.continue_from` makes of the champion."""
    config = resolve_config(profile, str(data), [*settings, f"train.continue_from={kind}"])
    request = make_request(config, str(store.root), None, "benchmark")
    valid = prepare(request, config, Stages(), RunState())
    features = extract_to_train(valid, config, store, Stages(), RunState())
    asked = TrainRequest(valid=valid, features=features, config=config, champion=champion)
    before = cpu_s()
    checkpoint = train(asked, store)
    seconds = cpu_s() - before
    return Trained(asked, checkpoint, read_history(checkpoint, store) or TrainingHistory(), seconds)


def publish(run: Trained, store: Store) -> ChampionRef:
    """The model as the registry would bring it into the store."""
    ref, folder = run.checkpoint, store.path(f"champions/{run.checkpoint.sha256}")
    if not folder.exists():
        shutil.copytree(store.path(ref.uri), folder)
        write_rows(Samples.read(store.path(run.request.valid.uri)), folder / ROWS, ref.modalities)
    return ChampionRef(
        uri=f"champions/{ref.sha256}", sha256=digest_json(ref.sha256), rows=0, name="benchmark", version="1",
        model_sha256=ref.model_sha256, train_key=ref.train_key, base_key=ref.base_key,
    )  # fmt: skip


def write_whole(data: Path, rows: int, target: Path) -> Path:
    """The manifest with absolute paths; of very many rows every so many-th."""
    table = pq.read_table(data) if data.suffix == ".parquet" else pa.csv.read_csv(data)
    table = table.take(np.arange(0, len(table), max(1, len(table) // rows))[:rows])
    for name in ("image_path", "audio_path"):
        if table[name].type == pa.string():
            paths = [str(data.parent / path) if path else None for path in table[name].to_pylist()]
            table = table.set_column(table.column_names.index(name), name, pa.array(paths))
    pq.write_table(table, target)
    return target


def write_fewer(whole: Path, training: list[str], share: float, seed: int, target: Path) -> Path:
    """The manifest without this share of its train rows, in per cent of those that are left."""
    left = round(len(training) / (1 + share / 100))
    gone = np.random.default_rng(seed).permutation(training)[left:]
    table = pq.read_table(whole)
    pq.write_table(table.filter(np.isin(table["sample_id"].to_numpy(), gone, invert=True)), target)
    return target


def line(share: float, seed: int, kind: str, run: Trained) -> str:
    """One row of the table."""
    heads, start = run.history.heads, run.history.start
    kept = "champion" if start is not None and start.is_continued else "scratch"
    epochs = sum(head.epochs for head in heads) or len(run.history.epochs)
    return (
        f"| {share:g} % | {seed} | {kind} | {run.loss:.4f} | {100 * run.accuracy:.2f} % | {epochs} | {run.seconds:.1f} "
        f"| {kept} |"
    )


def summarize(found: dict[tuple[float, str], list[Trained]]) -> None:
    """The means over the seeds."""
    print("\n| new train rows | `continue_from` | val loss | val accuracy | CPU s |\n" + "|---" * 5 + "|")
    for (share, kind), runs in found.items():
        loss, accuracy, seconds = (
            np.mean([getattr(run, name) for run in runs]) for name in ("loss", "accuracy", "seconds")
        )
        print(f"| {share:g} % | {kind} | {loss:.4f} | {100 * accuracy:.2f} % | {seconds:.1f} |")


def main() -> None:
    """Prints a row for each training, then the means."""
    parser = argparse.ArgumentParser(description="Training from the champion's weights beside training from scratch")
    parser.add_argument("--data", choices=("digits", "cifar10"), default="digits")
    parser.add_argument("--shares", type=lambda text: [float(one) for one in text.split(",")], default=[1.0, 5.0, 10.0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=4000, help="of the data, at most")
    parser.add_argument("--px", type=int, default=96, help="side of the pictures of cifar10 as the network sees them")
    parser.add_argument("--shared", type=Path, default=Path("../shared"), help="the folder with data and weights")
    parser.add_argument(
        "--kinds", type=lambda text: text.split(","), default=list(KINDS), help="of train.continue_from"
    )
    options = parser.parse_args()
    print(machine("torch", "torchvision"), flush=True)
    print(
        "\n| new train rows | seed | `continue_from` | val loss | val accuracy | epochs | CPU s | kept |\n"
        + "|---" * 8
        + "|"
    )
    found: dict[tuple[float, str], list[Trained]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder, profile, settings = Path(name), None, [*TINY, "train.threads=1"]
        store = Store(folder / "store")
        if options.data == "digits":
            profile, data = "digits", locate_data(resolve_config("digits", None, []), store)
        else:
            manifest, own = source("cifar10", options.shared.resolve(), options.px, folder)
            data, settings = Path(manifest), [*settings, *own]
        settings.append(f'data.allowed_roots=["{data.parent}"]')
        whole = write_whole(data, options.rows, folder / "whole.parquet")
        for seed in range(options.seeds):
            seeded = [*settings, f"seed={seed}"]
            scratch = train_once(profile, whole, seeded, "none", None, store)
            samples = Samples.read(store.path(scratch.request.valid.uri))
            training = samples.of_split("train").sorted_by_id().ids
            for share in options.shares:
                fewer = write_fewer(whole, training, share, seed, folder / f"{seed}-{share}.parquet")
                champion = publish(train_once(profile, fewer, seeded, "none", None, store), store)
                for kind in options.kinds:
                    run = scratch if kind == "none" else train_once(profile, whole, seeded, kind, champion, store)
                    found.setdefault((share, kind), []).append(run)
                    print(line(share, seed, kind, run), flush=True)
    summarize(found)


if __name__ == "__main__":
    main()
