"""What Prefect costs: the same retrain with the flow and with `--plain`, interleaved, each in a fresh store.

    python -m benchmarks.orchestration [--data MANIFEST] [--runs 3] [--epochs 5]

Counted: whole processes from outside, wall and CPU, server and subprocesses included. Left out: nothing. The start-up is
taken apart with commands that do only that part; the work is the run's own `seconds.total`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks.measure import TINY, Timing, machine, median, program, time_command

_EMPTY_FLOW = "from prefect import flow\n@flow\ndef nothing(): return None\nnothing()"
_ENVIRONMENT = {
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
}


def main() -> None:
    """Prints the seconds of a retrain with Prefect and without, in a fresh store and again, and their ratio."""
    parser = argparse.ArgumentParser(description="What Prefect costs")
    parser.add_argument("--data", default="../shared/data/avdigits/manifest.csv")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=5)
    options = parser.parse_args()
    print(machine("prefect", "torch"))
    with tempfile.TemporaryDirectory() as folder:
        fresh: dict[str, list[Timing]] = {"prefect": [], "plain": []}
        again: dict[str, list[Timing]] = {"prefect": [], "plain": []}
        for turn in range(options.runs):
            for kind in ("prefect", "plain"):
                command = _command(options, Path(folder) / f"{kind}-{turn}", kind)
                fresh[kind].append(time_command(command))
                again[kind].append(time_command(command))
                assert again[kind][-1].summary["verdict"] == "unchanged", again[kind][-1].last_line
    _compare(f"retrain, {options.epochs} epochs, fresh store", fresh)
    _compare("retrain again, unchanged", again)
    _take_apart(again, options.runs)


def _command(options: argparse.Namespace, store: Path, kind: str) -> list[str]:
    command = [program("crossmodal"), "retrain", "--data", options.data, "--store", str(store), "--json"]
    settings = [part for text in (*TINY, f"train.epochs={options.epochs}") for part in ("--set", text)]
    return [*command, *settings, *(["--plain"] if kind == "plain" else [])]


def _compare(title: str, timings: dict[str, list[Timing]]) -> None:
    print(f"\n{title} (medians of {len(timings['plain'])})")
    for what in ("wall_s", "cpu_s"):
        with_prefect, plain = (median([getattr(t, what) for t in timings[kind]]) for kind in ("prefect", "plain"))
        ratio = median(
            [getattr(a, what) / getattr(b, what) for a, b in zip(timings["prefect"], timings["plain"], strict=True)]
        )
        print(f"  {what:7} prefect {with_prefect:7.2f}   plain {plain:7.2f}   ratio {ratio:.2f}")


def _take_apart(again: dict[str, list[Timing]], runs: int) -> None:
    """The unchanged run by part: interpreter, imports, server, work."""
    python = sys.executable
    parts = {
        "interpreter": [python, "-c", "pass"],
        "import flows.cli": [python, "-c", "import flows.cli"],
        "import prefect": [python, "-c", "import prefect"],
        "import flows.retrain": [python, "-c", "import flows.retrain"],
        "a flow that does nothing": [python, "-c", _EMPTY_FLOW],
    }
    print("\nstart-up, by part (medians)")
    for name, command in parts.items():
        timings = [time_command(command, _ENVIRONMENT) for _ in range(runs)]
        print(
            f"  {name:26} wall {median([t.wall_s for t in timings]):6.2f} s   cpu {median([t.cpu_s for t in timings]):6.2f} s"
        )
    for kind, timings in again.items():
        work = median([t.summary["seconds"]["total"] for t in timings])
        print(f"  {'work inside, ' + kind:26} wall {work:6.2f} s")


if __name__ == "__main__":
    main()
