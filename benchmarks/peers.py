"""Against peers, in one run: AutoGluon-MultiModal, scikit-learn on frozen features and HF Trainer.

    python -m benchmarks.peers [--data captions] [--rows 2000] [--peer-env DIR]     frozen backbones, a head
    python -m benchmarks.peers --regimes head,full [--epochs 5]                     fine-tuned as well
    python -m benchmarks.peers --data avdigits --contestants ours,sklearn,hf

All read the same rows (our own cleaned samples), the same backbones from local folders and the same side of pictures, with the
same number of threads, one after the other, in processes of their own. Fitting is the whole process that leaves a model on
disk: of ours a whole retrain with evaluation, gate and release. AutoMM has an environment of its own (`--peer-env`, made
there if need be) and its defaults; as it always fine-tunes, it is fitted once and stands in both tables. Answers are timed in a
further process that loads what was saved: one row is the median of single calls, rows a second is one call with all test rows,
both from the files to the label. The size is all that is needed but the libraries. What each does: benchmarks/contestants.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np

from benchmarks.contestants import automm_env, exchange, rows
from benchmarks.measure import Timing, machine, time_command
from data_contracts.refs import Split, Target
from tasks.config_training import TrainConfig
from tasks.errors import CrossmodalError, UsageError
from tasks.problems.registry import problem_of
from tasks.problems.scoring import AnyScorer

Regime = Literal["head", "full"]
Name = TypeVar("Name", bound=str)
REGIMES: tuple[Regime, ...] = ("head", "full")
REPOSITORY = Path(__file__).parent.parent
MODULES = {"ours": "ours", "sklearn": "frozen_sklearn", "hf": "hf_trainer"}
AUTOMM = "automm"
NAMES = {
    "ours": {"head": "crossmodal, head", "full": "crossmodal, full"},
    "sklearn": {"head": "scikit-learn, logistic regression"},
    "hf": {"head": "HF Trainer, head", "full": "HF Trainer, full"},
    AUTOMM: {"head": "AutoMM", "full": "AutoMM"},
}
AUTOMM_READS = {"image", "text"}
HEAD_EPOCHS = TrainConfig().epochs
"""Of HF Trainer's head; ours has them by default."""
ALLOWED_RATIO: dict[Regime, float] = {"head": 0.1, "full": 0.5}
"""Of AutoMM's fit time, what ours may take."""


@dataclass(frozen=True)
class Result:
    """What a contestant came to."""

    fit: Timing
    answers: exchange.Answers
    scorer: AnyScorer

    @property
    def accuracy(self) -> float:
        """On the test rows."""
        return self.scorer.score()["accuracy"] or 0.0


def main() -> None:
    """Prints a table for each regime, and whether the goal is met."""
    options = parse(sys.argv[1:])
    print(
        machine("torch", "transformers", "timm", "scikit-learn"), f"load {os.getloadavg()[0]:.1f}", sep="; ", flush=True
    )
    with ExitStack() as stack:
        folder = Path(options.work or stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        try:
            compare(options, folder.resolve())
        except CrossmodalError as error:
            sys.exit(f"error: {error}")
    print(f"load {os.getloadavg()[0]:.1f} at the end")


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description="Against AutoMM, scikit-learn and HF Trainer")
    parser.add_argument("--data", default=rows.CAPTIONS, help="captions, a folder of ../shared/data, or a manifest")
    parser.add_argument("--shared", type=Path, default=Path("../shared"), help="folder with data and weights")
    for name, backbone in {"image": "efficientnet_lite2", "text": "minilm", "audio": "whisper-tiny-en"}.items():
        parser.add_argument(f"--{name}", type=Path, help=f"folder of its backbone; weights/{backbone} of --shared")
        parser.set_defaults(**{f"default_{name}": backbone})
    parser.add_argument("--rows", type=int, default=2000, help="train rows")
    parser.add_argument("--val-rows", type=int, default=400)
    parser.add_argument("--test-rows", type=int, default=1000)
    parser.add_argument("--px", type=int, default=96, help="side of the pictures as the backbone sees them")
    parser.add_argument("--regimes", default="head", help="head, full, or head,full")
    parser.add_argument("--epochs", type=int, default=25, help="of fine-tuning, ours and HF Trainer")
    parser.add_argument("--contestants", default="ours,sklearn,hf,automm")
    parser.add_argument("--peer-env", type=Path, help="folder of AutoMM's virtual environment")
    parser.add_argument("--time-limit", type=int, default=7200, help="of AutoMM's fit, in seconds")
    parser.add_argument("--one-row-calls", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", help="keep tables, models and results here; a broken run goes on from it")
    return parser.parse_args(arguments)


def compare(options: argparse.Namespace, folder: Path) -> None:
    """The tables. UsageError for a name that is unknown, or data that the contestants cannot read."""
    regimes = [_known("--regimes", name, REGIMES) for name in options.regimes.split(",")]
    named = [_known("--contestants", name, tuple(NAMES)) for name in options.contestants.split(",")]
    chosen = [name for name in NAMES if name in named]  # ours first: the others are compared with it
    manifest, root = rows.locate(options.data, options.shared / "data", folder)
    most: dict[Split, int] = {"train": options.rows, "val": options.val_rows, "test": options.test_rows}
    tables, inputs = rows.write_tables(manifest, root, backbones(options), most, folder)
    for name, place in inputs.items():
        if not Path(place, "config.json").is_file():
            raise UsageError(f"--{name} {place!r}: has no config.json; name a folder as transformers writes it")
    request = exchange.Request(
        tables=tables,
        inputs=inputs,
        work=str(folder),
        roots=[str(root)],
        regime="head",
        epochs=options.epochs,
        px=options.px,
        threads=options.threads,
        seed=options.seed,
        time_limit_s=options.time_limit,
        one_row_calls=options.one_row_calls,
    )
    counts = ", ".join(f"{len(exchange.read_rows(request, split)):,} {split}" for split in tables)
    networks = ", ".join(f"{name} {Path(place).name}" for name, place in inputs.items())
    print(f"{options.data}: {counts} rows; {networks}; {options.px} px; {options.threads} threads; seed {options.seed}")
    automm: Result | str | None = None
    for regime in regimes:
        print(f"\n{regime}{f', {options.epochs} epochs' if regime == 'full' else ''}\n\n{HEADER}", flush=True)
        found: dict[str, Result] = {}
        for name in (name for name in chosen if regime in NAMES[name]):
            asked = request.copy()
            asked["regime"], asked["work"] = regime, str(folder / f"{name}-{regime}")
            asked["epochs"] = options.epochs if regime == "full" else HEAD_EPOCHS
            if name == AUTOMM:
                result = automm = automm or run_automm(options.peer_env, asked)
            else:
                command = [sys.executable, "-m", f"benchmarks.contestants.{MODULES[name]}"]
                result = run(command, asked)
            if isinstance(result, Result):
                found[name] = result
            print(line(NAMES[name][regime], result, found.get("ours")), flush=True)
        if "ours" in found:
            if AUTOMM in found:
                versions = found[AUTOMM].fit.summary["versions"]
                print("\nAutoMM's environment: " + ", ".join(f"{name} {version}" for name, version in versions.items()))
            print(f"\n{stages(folder / f'ours-{regime}')}\n{goal(regime, found)}", flush=True)


def backbones(options: argparse.Namespace) -> dict[str, str]:
    """Input to the folder of its backbone."""
    found = {}
    for name in ("image", "text", "audio"):
        place = getattr(options, name) or options.shared / "weights" / getattr(options, f"default_{name}")
        found[name] = str(place.resolve())
    return found


def _known(option: str, name: str, known: Sequence[Name]) -> Name:
    for each in known:
        if each == name:
            return each
    raise UsageError(f"{option} {name!r}: unknown; choose from {', '.join(known)}")


def run(command: Sequence[str], request: exchange.Request) -> Result | str:
    """The contestant fitted and asked, each in a process of its own; or why it failed. What an earlier run with the same
    request left is not done again."""
    work, wanted = Path(request["work"]), json.dumps(request)
    asked, kept = work / "request.json", work / "result.json"
    if not (kept.exists() and asked.read_text(encoding="utf-8") == wanted):
        shutil.rmtree(work, ignore_errors=True)  # a store that holds results would be found unchanged
        work.mkdir(parents=True)
        asked.write_text(wanted, encoding="utf-8")
        environment = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(request["threads"]))
        environment |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "PYTHONPATH": str(REPOSITORY)}
        try:
            fit, answered = (time_command([*command, step, str(asked)], environment) for step in ("fit", "answer"))
        except RuntimeError as error:
            return f"failed: {str(error).strip().splitlines()[-1]}"
        kept.write_text(json.dumps({"fit": asdict(fit), "answers": answered.summary}), encoding="utf-8")
    read = json.loads(kept.read_text(encoding="utf-8"))
    truth = [row["label"] for row in exchange.read_rows(request, "test")]
    return Result(Timing(**read["fit"]), read["answers"], score(truth, read["answers"]["predicted"]))


def run_automm(folder: Path | None, request: exchange.Request) -> Result | str:
    """AutoMM in its environment; or why it was skipped."""
    if lacking := set(request["inputs"]) - AUTOMM_READS:
        return f"skipped: AutoMM does not read {', '.join(sorted(lacking))}"
    python = automm_env.make_environment(folder)
    if isinstance(python, str):
        return f"skipped: {python}"
    # -P: without the script's folder on sys.path; it imports nothing of ours.
    return run([str(python), "-P", str(REPOSITORY / "benchmarks" / "contestants" / "automm.py")], request)


def score(truth: Sequence[str], predicted: Sequence[str]) -> AnyScorer:
    """Answers of which only the class is known."""
    labels = tuple(sorted({*truth, *predicted}))
    certain = np.eye(len(labels))[[labels.index(label) for label in predicted]]
    target = Target(name="label", labels=labels)
    return problem_of(target).scorer(certain, truth, target, labels, None)


HEADER = (
    "| | test accuracy (95 %) | crossmodal minus it (95 %) | fit s | CPU s | one row ms | rows/s | MB |\n"
    "|---|---|---|---|---|---|---|---|"
)


def line(name: str, result: Result | str, ours: Result | None) -> str:
    """One row of the table."""
    if isinstance(result, str):
        return f"| {name} | {result} | | | | | | |"
    low, high = result.scorer.intervals(0)["accuracy"]
    apart = "" if ours is None or ours is result else "{:+.1f} ({:+.1f} to {:+.1f})".format(*difference(ours, result))
    return (
        f"| {name} | {100 * result.accuracy:.1f} % ({100 * low:.1f} to {100 * high:.1f}) | {apart} | {result.fit.wall_s:,.0f} "
        f"| {result.fit.cpu_s:,.0f} | {result.answers['row_ms']:.0f} | {result.answers['batch_rows_per_s']:.1f} "
        f"| {result.answers['bytes'] / 1e6:.1f} |"
    )


def difference(ours: Result, other: Result) -> tuple[float, float, float]:
    """Points of accuracy by which ours is ahead on the same rows, with the interval of a paired bootstrap."""
    value, low, high = ours.scorer.differences(other.scorer, 0)["accuracy"]
    return 100 * value, 100 * low, 100 * high


def stages(work: Path) -> str:
    """Where the seconds of our retrain went."""
    seconds = json.loads((work / "summary.json").read_text(encoding="utf-8"))["seconds"]
    parts = ", ".join(f"{name} {value:.0f}" for name, value in seconds.items() if name != "total" and value)
    return f"crossmodal's {seconds['total']:.0f} s of stages: {parts}"


def goal(regime: Regime, found: Mapping[str, Result]) -> str:
    """Whether ours is first, or within the interval of what is, in at most the allowed share of AutoMM's fit time."""
    ours = found["ours"]
    behind = [NAMES[name][regime] for name, other in found.items() if name != "ours" and difference(ours, other)[2] < 0]
    said = [
        f"behind {', '.join(behind)}: NOT as demanded"
        if behind
        else "first in accuracy, or within the interval: as demanded"
    ]
    if AUTOMM in found:
        wall, cpu = (getattr(ours.fit, name) / getattr(found[AUTOMM].fit, name) for name in ("wall_s", "cpu_s"))
        verdict = "as demanded" if wall <= ALLOWED_RATIO[regime] else "NOT as demanded"
        said.append(
            f"{wall:.2f} x AutoMM's fit time ({cpu:.2f} x its CPU): {verdict} (at most {ALLOWED_RATIO[regime]:g})"
        )
    else:
        said.append("no fit time of AutoMM to compare with")
    return "goal: " + "; ".join(said)


if __name__ == "__main__":
    main()
