"""Kills parts of `crossmodal up` at random points of a run and shows that nothing stays behind: python -m benchmarks.chaos.up.

Each point starts from an empty store of artifacts, triggers a retrain, waits a random part of the time that a retrain
takes, kills the target with SIGKILL, and starts `up` again where everything was killed. Then every run must have ended,
no process may live but those of the running `up`, no slot may be taken, and the next run must publish the bytes of an
undisturbed `crossmodal retrain --plain`.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from uuid import UUID

import httpx
import psutil

from benchmarks.measure import TINY
from flows.hosting.processes import working_runs

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun

TARGETS = {
    "server": ("flows.hosting.prefect_server",),
    "worker": ("prefect worker start",),
    "engine": ("prefect.engine",),
    "trainer": ("tasks.train.worker",),
    "all": ("",),
}
"""What is killed, and by which part of its command line it is found."""
T = TypeVar("T")
LONG_S = 600.0
SETTINGS = [
    *TINY,
    *("train.epochs=4", "train.batch_size=16", "train.threads=1", "train.learning_rate=0.003"),
    *("runtime.workers=1", "gate.margin=0.2"),
]
# Who is born with SIGINT ignored (`nohup … &`) keeps it so, and Python then installs no handler.
_INTERRUPTIBLE = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from flows.cli import main; main()"
)
KEPT = {"prefect", "runs", "mlflow.db", "mlartifacts"}


def free_ports(number: int) -> list[int]:
    """Different ports that nothing listens on."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(number)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


def wait_for(what: str, look: Callable[[], T | None], timeout_s: float = LONG_S) -> T:
    """What the look finds, as soon as that is something. AssertionError when time is up."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        with suppress(httpx.HTTPError):  # the server is being restarted
            found = look()
            if found:
                return found
        time.sleep(0.3)
    raise AssertionError(f"{what}: not within {timeout_s:.0f} s")


class Up:
    """A `crossmodal up` on a store of its own, as a user would start it."""

    def __init__(self, store: Path, options: tuple[str, ...] = ()) -> None:
        self.store = store
        self.options = options
        self.ports = free_ports(3)
        self.output = store.parent / f"{store.name}-up.out"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it and waits until all of it runs."""
        names = ("--prefect-port", "--mlflow-port", "--pages-port")
        ports = [word for name, port in zip(names, self.ports, strict=True) for word in (name, str(port))]
        command = [sys.executable, "-c", _INTERRUPTIBLE, "up", "--store", str(self.store), *ports, *self.options]
        self.output.write_text("")
        with self.output.open("ab") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True)
        wait_for(f"up\n{self.output.read_text()}", lambda: "\nlogs " in self.output_text() or self.process_ended())
        assert not self.process_ended(), self.output_text()

    def process_ended(self) -> bool:
        """True when it ran and does not any more."""
        return self.process is not None and self.process.poll() is not None

    def output_text(self) -> str:
        """What it has printed since the last start."""
        return self.output.read_text()

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        """Stops it as Ctrl-C does; its exit status."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(LONG_S)

    def end(self) -> None:
        """For a `finally`: nothing of it is left, however far it got."""
        if self.process is not None:
            self.stop()
        for process in self.processes(""):
            with suppress(psutil.NoSuchProcess):
                process.kill()

    def processes(self, *parts: str) -> list[psutil.Process]:
        """Processes that work on this store and have one of the parts in their command line."""
        found = []
        for process in psutil.process_iter():
            try:
                line = " ".join(process.cmdline())
                if process.environ().get("CROSSMODAL_STORE") == str(self.store) and any(part in line for part in parts):
                    found.append(process)
            except (psutil.Error, OSError):
                continue
        return found

    def orphans(self) -> list[psutil.Process]:
        """Processes that work on this store but are none of the running `up`'s."""
        assert self.process is not None
        mine = set() if self.process_ended() else set(psutil.Process(self.process.pid).children(recursive=True))
        return [process for process in self.processes("") if process not in mine]

    def kill(self, target: str) -> None:
        """SIGKILL to the target, `up` itself included where it is everything."""
        processes = self.processes(*TARGETS[target])
        if target == "all":
            assert self.process is not None
            self.process.kill()
            self.process.wait()
        for process in processes:
            with suppress(psutil.NoSuchProcess):  # it went with its parent
                process.kill()

    @contextmanager
    def client(self) -> Iterator[SyncPrefectClient]:
        """Prefect's client with the settings of the running worker, its credential included."""
        from prefect.client.orchestration import get_client
        from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

        environment = wait_for("the worker", lambda: self.processes(*TARGETS["worker"]))[0].environ()
        settings = {PREFECT_API_URL: environment["PREFECT_API_URL"]}
        if "PREFECT_API_AUTH_STRING" in environment:
            settings[PREFECT_API_AUTH_STRING] = environment["PREFECT_API_AUTH_STRING"]
        with temporary_settings(settings), get_client(sync_client=True) as client:
            yield client

    def trigger(self, client: SyncPrefectClient, manifest: Path, name: str) -> UUID:
        """A new run of the deployment."""
        deployment = client.read_deployment_by_name("retrain/weekly")
        parameters = {"profile": "defaults", "data": str(manifest), "overrides": [*SETTINGS, f"name={name}"]}
        return client.create_flow_run_from_deployment(deployment.id, parameters=parameters).id

    def clear_artifacts(self) -> None:
        """The next run has all of its work to do."""
        for path in self.store.iterdir():
            if path.is_dir() and path.name not in KEPT:
                shutil.rmtree(path, ignore_errors=True)


def ended(client: SyncPrefectClient, run: UUID) -> FlowRun:
    """The run, once it has ended."""

    def look() -> FlowRun | None:
        """The run where it has ended."""
        found = client.read_flow_run(run)
        return found if found.state is not None and found.state.is_final() else None

    return wait_for(f"the end of run {run}", look)


def wait_for_all(up: Up, client: SyncPrefectClient) -> None:
    """Every run has ended. AssertionError names those that have not, with what `up` and its worker said last."""
    try:
        wait_for("the end of all runs", lambda: not unfinished(client))
    except AssertionError as error:
        left = "\n".join(f"{run.id} {run.name}: {run.state}" for run in unfinished(client))
        log = up.store / "prefect" / "worker.log"
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-40:]) if log.is_file() else "no worker.log"
        raise AssertionError(f"{error}\n{left}\n{up.output_text()}\n{tail}") from None


def unfinished(client: SyncPrefectClient) -> list[FlowRun]:
    """Runs that hold a process or a slot, or wait for a worker now."""
    runs = client.read_flow_runs(limit=200)
    now = datetime.now(UTC)
    return [
        run
        for run in runs
        if run.state is not None
        and not run.state.is_final()
        and not (run.state.is_scheduled() and run.next_scheduled_start_time and run.next_scheduled_start_time > now)
    ]


def taken_slots(client: SyncPrefectClient) -> dict[str, int]:
    """Taken slots of every limit that has any."""
    limits = client.read_global_concurrency_limits(limit=200)
    return {limit.name: limit.active_slots for limit in limits if limit.active_slots}


def plain_sha256(manifest: Path, store: Path) -> str:
    """The sha256 of the model of an undisturbed run without Prefect."""
    flags = [part for setting in [*SETTINGS, "name=plain"] for part in ("--set", setting)]
    command = [
        sys.executable,
        "-m",
        "flows",
        "retrain",
        "--profile",
        "defaults",
        "--data",
        str(manifest),
        "--plain",
        "--json",
        *flags,
    ]
    done = subprocess.run([*command, "--store", str(store)], capture_output=True, text=True, check=True)
    return str(json.loads(done.stdout.splitlines()[-1])["model"]["sha256"])


def published_sha256(up: Up, run: UUID) -> str:
    """The sha256 of the model that a run published."""
    summary = next(up.store.glob(f"runs/*-{str(run)[:8]}/summary.json"))
    return str(json.loads(summary.read_text())["model"]["sha256"])


def kill_at_random(up: Up, manifest: Path, target: str, delay_s: float, name: str) -> dict[str, object]:
    """Kills the target `delay_s` after a run has begun; what became of the run, and of the next one."""
    up.clear_artifacts()
    with up.client() as client:
        first = up.trigger(client, manifest, name)
        wait_for("the engine", lambda: str(first) in working_runs())  # not that of the run before, on its way out
        time.sleep(delay_s)
        if target in {"engine", "trainer"}:
            wait_for(f"the {target}", lambda: up.processes(*TARGETS[target]))
        up.kill(target)
    if target == "all":
        up.start()
    started = time.monotonic()
    with up.client() as client:
        state = ended(client, first).state
        # Twice, since between the end of a run and the start of its second try there is neither.
        for _ in range(2):
            wait_for_all(up, client)
            time.sleep(7.0)
        wait_for_all(up, client)
        tries = [run for run in client.read_flow_runs(limit=200) if f"retry-of:{first}" in run.tags]
        settled_s = time.monotonic() - started
        wait_for("the end of orphans", lambda: not up.orphans(), 60.0)
        slots = taken_slots(client)
        again = up.trigger(client, manifest, name)
        last = ended(client, again).state
    assert state is not None
    assert last is not None
    return {
        "target": target,
        "after_s": round(delay_s, 1),
        "run": state.name,
        "second_try": ", ".join(str(run.state_name) for run in tries) or "none",
        "settled_s": round(settled_s, 1),
        "slots": slots,
        "next": last.name,
        "sha256": published_sha256(up, again) if last.is_completed() else None,
    }


def main() -> None:
    """Prints a line for every point; ends with 1 where one of them left something behind."""
    parser = argparse.ArgumentParser()
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--points", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--longest-s", type=float, default=15.0, help="about what a retrain takes")
    options = parser.parse_args()
    draw = random.Random(options.seed)
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        expected = plain_sha256(options.manifest, Path(folder) / "plain")
        print(
            "| target | after, s | the run | second try | settled, s | slots | next run | same sha256 |\n"
            + "|---" * 8
            + "|"
        )
        up = Up(Path(folder) / "store")
        up.start()
        try:
            for point in range(options.points):
                target = list(TARGETS)[point % len(TARGETS)]
                row = kill_at_random(up, options.manifest, target, draw.uniform(0, options.longest_s), f"point{point}")
                same = row.pop("sha256") == expected
                failed += not same or bool(row["slots"])
                print("| " + " | ".join(str(value) for value in row.values()) + f" | {same} |", flush=True)
            up.stop()
            left = up.orphans()
            print(f"after the stop: {len(left)} processes left")
        finally:
            up.end()
    sys.exit(bool(failed or left))


if __name__ == "__main__":
    main()
