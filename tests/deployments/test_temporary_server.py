"""Without `up`, Prefect starts a server of its own for a run: its port is no way in for others either."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
SCRIPT = """
import sys
from pathlib import Path
from flows.environment import use_prefect
use_prefect(Path(sys.argv[1]))
from prefect import flow, task
from prefect.client.orchestration import get_client
@flow
def answer() -> int:
    print(get_client(sync_client=True)._client.base_url, flush=True)
    sys.stdin.readline()
    return 7
print(answer(), flush=True)
"""


def test_only_the_run_itself_gets_through(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(tmp_path)],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as run:
        assert run.stdout is not None
        url = run.stdout.readline().strip().rstrip("/")
        page = {"Origin": "http://evil.example", "Host": "evil.example"}
        calls = [("POST", "flow_runs/filter"), ("POST", "deployments/filter"), ("GET", "admin/settings")]
        found = [httpx.request(*call, headers=head) for call in _at(url, calls) for head in ({}, page)]
        out, errors = run.communicate("\n")
    assert url.startswith("http://127.0.0.1:"), errors
    assert [answer.status_code for answer in found] == [401] * len(found)
    assert out == "7\n", errors


def _at(url: str, calls: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(method, f"{url}/{path}") for method, path in calls]
