"""A Ray cluster on this machine: every node a process of its own with what it starts, ended by its id."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.waiting import wait_until

TOKEN = "0" * 40
_START = "import sys; from ray.scripts.scripts import main; sys.argv[0] = 'ray'; sys.exit(main())"
_SMALL = ("--object-store-memory=150000000", "--block")


@dataclass
class Cluster:
    """Its head's address, the variables by which a program gets in, and its nodes, the head first."""

    address: str
    environment: dict[str, str]
    nodes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def add(self, *options: str) -> subprocess.Popen[bytes]:
        """One more node, up."""
        log = Path(self.environment["RAY_TMPDIR"]) / f"node-{len(self.nodes)}.log"
        with log.open("wb") as out:
            node = subprocess.Popen(
                [sys.executable, "-c", _START, "start", *options, *_SMALL],
                env={**os.environ, **self.environment},
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.nodes.append(node)

        def is_up() -> bool:
            assert node.poll() is None, log.read_text()
            return "Ray runtime started" in log.read_text()

        wait_until(is_up, "the node of the Ray cluster is up", every_s=0.2)
        return node

    def kill(self, node: subprocess.Popen[bytes]) -> None:
        """The node is gone at once, with all that runs on it."""
        processes = [psutil.Process(node.pid), *psutil.Process(node.pid).children(recursive=True)]
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
        node.wait()


@contextlib.contextmanager
def ray_cluster(cpus: int, environment: dict[str, str] | None = None) -> Iterator[Cluster]:
    """A cluster of one node that asks for a token, and has no dashboard."""
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # sockets lie in it, whose paths are short
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **(environment or {}),
        "RAY_TMPDIR": folder,
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": TOKEN,
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    cluster = Cluster(f"{_own_address()}:{port}", environment)
    try:
        cluster.add("--head", f"--port={port}", f"--num-cpus={cpus}", "--include-dashboard=false")
        yield cluster
    finally:
        for node in reversed(cluster.nodes):
            if node.poll() is None:
                cluster.kill(node)
        shutil.rmtree(folder, ignore_errors=True)


def processes_named(node: subprocess.Popen[bytes], name: str) -> list[psutil.Process]:
    """Those of a node whose command line has this in it."""
    found = []
    with contextlib.suppress(psutil.NoSuchProcess):
        for process in psutil.Process(node.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                if process.status() != psutil.STATUS_ZOMBIE and name in " ".join(process.cmdline()):
                    found.append(process)
    return found


def _own_address() -> str:
    """Under which Ray's nodes find each other: it makes this of a loopback address."""
    import ray

    return str(ray.util.get_node_ip_address())
