"""What answering by both candidates of encoders.KIND = auto is worth beside choosing one of them, `tiny` or `classical`.

    python -m benchmarks.blend [--rows 500] [--seeds 3] [--only image audio text image+audio image+text]
                               [--set KEY=VALUE] [--store DIR]

Both are trained on each set and seed as `auto` trains them. Every rule sees their answers to the validation rows only, and is
judged on the test rows. `2 SE`: classical, unless tiny's loss is lower by two standard errors; `lower loss`: by anything;
`mean`: half of each one's probabilities; `log mean`: of their logarithms; `lowest of three`: the log mean, unless one of the
two has a lower validation loss; `weighted`: the mean with the weight, between 0 and 1, of the lowest validation loss (what
Caruana's selection with replacement comes to with two models); `shrunk`: the same with PRIOR rows of even odds beside the
validation rows. In each cell accuracy, and in brackets the mean loss.
"""

from __future__ import annotations

import argparse
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.captions import write_manifest
from benchmarks.measure import machine
from data_contracts.modalities import ALL_MODALITIES
from data_contracts.refs import Modality
from flows.data_stages import extract_to_evaluate, prepare
from flows.encoder_choice import train_model
from flows.request import make_request, resolve_config
from flows.run_state import RunState
from flows.stages import Stages
from tasks.encoder_choice import STANDARD_ERRORS, with_encoders
from tasks.modeling.inference import predict_probabilities
from tasks.modeling.package import load_model
from tasks.samples import Samples
from tasks.train.request import cluster_val_rows, read_samples
from tasks.train.test_time_flip import standard_error
from tasks.train.train import train

SETS = ("image+audio", "audio", "image", "text", "image+text")
MEMBERS = ("tiny", "classical")
PRIOR = 10
"""Rows."""
Shares = NDArray[np.float64]


@dataclass(frozen=True)
class Answers:
    """Of both members, to the same rows."""

    shares: tuple[Shares, Shares]
    """Each (N, classes)."""
    truth: NDArray[np.int64]
    """(N,)"""

    def losses(self, member: int) -> NDArray[np.float64]:
        """(N,) cross-entropy."""
        return loss_of(self.shares[member], self.truth)


def loss_of(shares: Shares, truth: NDArray[np.int64]) -> NDArray[np.float64]:
    """(N,) cross-entropy of (N, classes)."""
    found: NDArray[np.float64] = -np.log(np.maximum(shares[np.arange(len(truth)), truth], 1e-12))
    return found


def mean_of(answers: Answers, weight: float) -> Shares:
    """(N, classes) with this weight of the first."""
    return weight * answers.shares[0] + (1 - weight) * answers.shares[1]


def log_mean(answers: Answers) -> Shares:
    """(N, classes) the geometric mean, its sum 1."""
    found = np.sqrt(answers.shares[0] * answers.shares[1]) + 1e-12
    shares: Shares = found / found.sum(axis=1, keepdims=True)
    return shares


def find_weight(val: Answers, prior: float) -> float:
    """Of the first, on a grid; `prior` rows say that either may be right."""
    grid = np.linspace(0, 1, 41)
    losses = [
        loss_of(mean_of(val, weight), val.truth).sum() - prior / 2 * np.log(max(4 * weight * (1 - weight), 1e-12))
        if prior
        else loss_of(mean_of(val, weight), val.truth).sum()
        for weight in grid
    ]
    return float(grid[int(np.argmin(losses))])


def lowest_of_three(val: Answers) -> str:
    """What has the lowest validation loss, of equals the log mean."""
    losses = {"log mean": loss_of(log_mean(val), val.truth).mean()}
    losses |= {name: val.losses(place).mean() for place, name in enumerate(MEMBERS)}
    return min(losses, key=lambda name: losses[name])


def rules(val: Answers, clusters: NDArray[np.int64] | None, test: Answers) -> dict[str, tuple[Shares, str]]:
    """Each rule's answers to the test rows, and what it took."""
    gained = val.losses(1) - val.losses(0)
    error = standard_error(gained, np.ones(len(gained)), clusters)
    error = 0.0 if np.isinf(error) else error
    sure, lower = int(gained.mean() <= STANDARD_ERRORS * error), int(gained.mean() <= 0)
    weight, shrunk = find_weight(val, 0), find_weight(val, PRIOR)
    three = {"log mean": log_mean(test)} | dict(zip(MEMBERS, test.shares, strict=True))
    name = lowest_of_three(val)
    return {
        "tiny": (test.shares[0], ""),
        "classical": (test.shares[1], ""),
        "2 SE": (test.shares[sure], MEMBERS[sure]),
        "lower loss": (test.shares[lower], MEMBERS[lower]),
        "mean": (mean_of(test, 0.5), ""),
        "log mean": (log_mean(test), ""),
        "lowest of three": (three[name], name),
        "weighted": (mean_of(test, weight), f"{weight:.2f}"),
        "shrunk": (mean_of(test, shrunk), f"{shrunk:.2f}"),
    }


def main() -> None:
    """Prints a line for each set and seed, then the means."""
    parser = argparse.ArgumentParser(description="One of two models against both")
    parser.add_argument("--shared", default="../shared/data")
    parser.add_argument("--rows", type=int, nargs="+", default=[500])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="of every training")
    parser.add_argument("--store", help="keep what is computed here; a broken run goes on from it")
    options = parser.parse_args()
    print(machine("torch"), flush=True)
    shared = Path(options.shared).resolve()
    first = True
    with ExitStack() as stack:
        store = Path(options.store or stack.enter_context(tempfile.TemporaryDirectory()))
        store.mkdir(parents=True, exist_ok=True)
        for kind in options.only:
            for rows in options.rows:
                all_of_them: dict[str, list[tuple[float, float]]] = {}
                for seed in range(options.seeds):
                    settings = [f'data.allowed_roots=["{shared}"]', f"data.max_rows={rows}", f"seed={seed}"]
                    val, clusters, test = answer(kind, shared, [*settings, *options.set], store)
                    found = rules(val, clusters, test)
                    if first:
                        print(
                            f"| set | seed | rows: val, test | {' | '.join(found)} |\n|{'---|' * (len(found) + 3)}",
                            flush=True,
                        )
                        first = False
                    cells = []
                    for name, (shares, took) in found.items():
                        accuracy = 100 * float((shares.argmax(axis=1) == test.truth).mean())
                        loss = float(loss_of(shares, test.truth).mean())
                        all_of_them.setdefault(name, []).append((accuracy, loss))
                        cells.append(f"{accuracy:.1f} ({loss:.3f}){f' {took}' if took else ''}")
                    print(
                        f"| {kind} {rows} | {seed} | {len(val.truth)}, {len(test.truth)} | {' | '.join(cells)} |",
                        flush=True,
                    )
                means = [np.mean(each, axis=0) for each in all_of_them.values()]
                print(
                    f"| **{kind} {rows}** | mean | | {' | '.join(f'**{one[0]:.1f}** ({one[1]:.3f})' for one in means)} |",
                    flush=True,
                )


def find_data(kind: str, shared: Path, store: Path) -> Path:
    """The manifest of a set."""
    if "audio" in kind:
        return shared / "avdigits/manifest.csv"
    if kind == "image":
        return shared / "cifar10_12k/manifest.csv"
    return write_manifest(shared / "cifar10_12k", store / "captions.csv")


def answer(
    kind: str, shared: Path, settings: list[str], store: Path
) -> tuple[Answers, NDArray[np.int64] | None, Answers]:
    """Both members' answers to the validation rows, their clusters, and the answers to the test rows."""
    kinds: list[Modality] = [one for one in ALL_MODALITIES if one in kind.split("+")]
    others = [f"encoders.{other}=off" for other in ALL_MODALITIES if other not in kinds]
    data = str(find_data(kind, shared, store))
    config = resolve_config(None, data, [*others, "split.near_duplicates=false", *settings])
    request = make_request(config, str(store), None, "benchmark")
    valid = prepare(request, config, Stages(), RunState())
    found: dict[str, list[Shares]] = {"val": [], "test": []}
    val = read_samples(valid, request.store).of_split("val")
    test = Samples.read(request.store.path(valid.uri)).of_split("test").sorted_by_id()
    truths = {}
    for member in MEMBERS:
        named = replace(request, config=with_encoders(config, dict.fromkeys(kinds, member)))
        trained = train_model(None, valid, named, Stages(train=partial(train, isolate=False)), RunState())
        store_of = request.store
        model = load_model(store_of.path(trained.checkpoint.uri))
        features = extract_to_evaluate(
            trained.checkpoint, valid, trained.features, named.config, store_of, Stages(), RunState()
        )
        for name, samples in (("val", val), ("test", test)):
            found[name].append(predict_probabilities(model, samples, features, store_of).astype(np.float64))
            truths[name] = model.targets.encode(samples).first
    answers = {name: Answers((first, second), truths[name]) for name, (first, second) in found.items()}
    return answers["val"], cluster_val_rows(valid, request.store), answers["test"]


if __name__ == "__main__":
    main()
