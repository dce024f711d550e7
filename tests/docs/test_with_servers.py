"""docs/schedule.md and docs/deploy.md as they stand: a user's terminals beside a running server."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.chaos.up import free_ports
from tests.support.data import SMALL, write_learnable
from tests.support.docs_pages import Block, blocks_of
from tests.support.paths import ROOT
from tests.support.readers import Reader
from tests.support.serving import running_up
from tests.waiting import wait_until

pytestmark = pytest.mark.slow
ELSEWHERE = (
    ("monitoring.md", "crossmodal monitor new.csv --model photos@champion\n"),
    ("monitoring.md", "crossmodal monitor new.csv --model photos@champion --set"),
    ("monitoring.md", "crossmodal automations apply"),
    ("monitoring.md", "crossmodal watch photos  "),
    ("monitoring.md", "crossmodal watch photos --deployment"),
    ("deploy.md", "crossmodal deploy\n"),
    ("deploy.md", "crossmodal deploy --pool containers"),
    ("deploy.md", "PREFECT_HOME="),
)
"""Pages and how their blocks begin: typed beside the same server, on the same profile."""
SOURCES = ("crossmodal", "data_contracts", "deployments", "flows", "pyproject.toml", "tasks")


END_S = 600


@contextlib.contextmanager
def running(lines: str, folder: Path, ready: str) -> Iterator[None]:
    """Lines of which the last keeps its terminal, until the end of the block; entered once it has printed `ready`."""
    output = folder / "terminal.out"
    with output.open("wb") as out:
        process = subprocess.Popen(
            ["env", "--default-signal=INT", "bash", "-c", f"set -e\n{lines}"],  # ignored in what a script starts with &
            cwd=folder,
            env=Reader(folder).environment,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        wait_until(
            lambda: ready in output.read_text() or process.poll() is not None, f"{ready!r} is printed", every_s=0.5
        )
        assert process.poll() is None, output.read_text()
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise


def listens(port: int) -> bool:
    """Something takes connections on that port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def find_block(page: str, first: str) -> Block:
    """The block of a page that begins with those words."""
    (found,) = (block for block in blocks_of(ROOT / "docs" / page) if f"{block.text.strip()}\n".startswith(first))
    return found


def test_my_data_every_week(tmp_path: Path) -> None:
    shell = Reader(tmp_path).type
    commands = find_block("schedule.md", "crossmodal check photos").commands
    up = next(number for number, command in enumerate(commands) if command.startswith("crossmodal up"))
    write_learnable(tmp_path / "photos", 80)
    shutil.copytree(tmp_path / "photos", tmp_path, dirs_exist_ok=True)
    (tmp_path / "manifest.csv").rename(tmp_path / "new.csv")
    (tmp_path / "webhook-address.txt").write_text("http://127.0.0.1:9/hook\n")
    quick = "".join(f" --set '{setting}'" for setting in SMALL)  # the test is not about training
    for command in commands[:up]:
        typed = command.split("  ")[0]
        shell(f"{typed}{quick}" if typed.startswith("crossmodal profile new") else typed)
    with running_up(tmp_path / ".crossmodal"):
        output = {command.split("  ")[0].strip(): shell(command) for command in commands[up + 1 :]}
        for page, first in ELSEWHERE:
            for command in find_block(page, first).commands:
                typed = command.replace("/data/incoming", "photos")
                output[command.split("  ")[0].strip()] = shell(typed)
    assert "0 3 * * 1" in output["crossmodal schedule list"]
    assert "this model is in the store" in output['crossmodal retrain --profile photos --mode "plan only"']
    assert "unchanged" in output['crossmodal retrain --profile photos --mode "evaluate only"']
    assert "removed" in output["crossmodal watch photos --remove"]
    assert '"drift": false' in output["crossmodal monitor new.csv --model photos@champion --json"]
    assert "watch/new-data" in output["PREFECT_HOME=.crossmodal/prefect prefect deployment ls"]


def test_the_parts_by_hand(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    clone.mkdir()
    shell = Reader(clone).type
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, clone / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, clone / name)
    data = write_learnable(tmp_path / "learnable")
    (port,) = free_ports(1)
    commands = [command.replace("4200", str(port)) for command in find_block("deploy.md", "source ").commands]
    assert commands.pop(0).startswith("source .venv/bin/activate")  # what a reader's environment does
    server, worker = (
        next(number for number, command in enumerate(commands) if command.startswith(start))
        for start in ("prefect server start", "prefect worker start")
    )
    shell(commands[0])
    first = "\n".join([*commands[1:server], f"{commands[server]} --port {port}"])
    known, steps, place = commands[server + 1], commands[server + 2 : worker - 1], commands[worker - 1]
    assert place.startswith("export CROSSMODAL_STORE=")
    with running(first, clone, "Check out the dashboard"):
        wait_until(lambda: listens(port), "the server answers", every_s=0.5)  # it says so a moment before
        for command in steps:
            shell(f"{known}\n{command}")
        with running(f"{known}\n{place}\n{commands[worker]}", clone, "started!"):
            overrides = json.dumps(SMALL)
            run = f"prefect deployment run retrain/weekly --param profile=defaults --param 'data={data}'"
            output = shell(f"{known}\n{run} --param 'overrides={overrides}' --watch")
        shell(f"export PREFECT_API_URL=http://127.0.0.1:{port}/api; ! prefect deployment ls")
    assert "Completed" in output, output
    assert list(clone.glob(".crossmodal/runs/*/report.html"))
