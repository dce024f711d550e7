"""`crossmodal up` with its worker, and `crossmodal serve`, in an environment full of tokens: afterwards they are nowhere."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from flows.hosting.services import executable
from tests.support.canaries import SECRETS, SETTINGS, canary, leaked, plant_pictures, signed_store, tokens_in
from tests.support.serving import running_up

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A store with two profiles whose data need a token, and the environment that `up` and `serve` are started in."""
    data, folder = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("services") / "store"
    (folder / "profiles").mkdir(parents=True)
    with signed_store(data) as url, pytest.MonkeyPatch.context() as patch:
        for name, value in SECRETS.items():
            patch.setenv(name, value)
        for name, broken in (("planted", 4), ("broken", 60)):
            plant_pictures(data, url, 120 if name == "planted" else 6, f"{name}.jsonl", broken)
            path = f'path = "{url}/{name}.jsonl?sig={canary("Profile")}"'
            profile = folder / "profiles" / f"{name}.toml"
            profile.write_text(f'name = "{name}"\n[data]\n{path}\nallowed_schemes = ["http"]\n')
            profile.chmod(0o600)
        yield folder


def tokens_of_files(store: Path) -> dict[str, set[str]]:
    """What lies in the store, but for what its owner keeps there: the profiles, and the copies of the manifests."""
    found = leaked(store)
    own = {name for name in found if name.startswith(("profiles/", "manifests/"))}
    assert all((store / name).stat().st_mode & 0o077 == 0 for name in own)
    return {name: tokens for name, tokens in found.items() if name not in own}


@contextlib.contextmanager
def arguments_noted() -> Iterator[set[str]]:
    """The command lines of all processes of this user while the block runs, as `ps` shows them to everybody."""
    noted: set[str] = set()
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.05):
            noted.update(" ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"]))

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield noted
    finally:
        over.set()
        looking.join()


def test_up_and_its_worker_keep_none(store: Path) -> None:
    overrides = list(SETTINGS)
    with arguments_noted() as noted, running_up(store) as up:
        ended = [
            up.end_of(up.start("retrain/weekly", profile=name, overrides=overrides)) for name in ("planted", "broken")
        ]
        assert [state["type"] for state in ended] == ["COMPLETED", "FAILED"]
        assert tokens_in(json.dumps(ended)) == set()
        shown = [
            up.call("crossmodal", *words, "--store", str(store)) for words in (["runs", "list"], ["models", "list"])
        ]
        pages = [httpx.get(f"{up.running.pages_url}{path}", follow_redirects=True).text for path in ("/", "/runs")]
        said = [*up.lines, *(text for one in shown for text in (one.stdout, one.stderr)), *pages]
    assert tokens_in("\n".join(said)) == set()
    assert any("prefect" in line and "worker" in line for line in noted), "the worker was seen"
    assert tokens_in("\n".join(noted)) == set()
    assert tokens_of_files(store) == {}
    logs = list((store / "logs").glob("*.log")) if (store / "logs").is_dir() else list(store.rglob("*.log"))
    assert logs, "what the services said was searched"


def test_serve_tells_none(store: Path) -> None:
    """After the run of the first test, whose model it serves."""
    pixels = next(Path(store).parent.parent.glob("data*/0.png")).read_bytes()
    token = canary("ServeTokenIsLong")
    with subprocess.Popen(
        executable(["crossmodal", "serve", "planted", "--port", "0", "--store", str(store), "--json"]),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "CROSSMODAL_SERVE_TOKEN": token},
    ) as process:  # fmt: skip
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if json.loads(line)["event"] == "open":
                break
        url = json.loads(lines[-1])["text"].rstrip("/")
        command = " ".join(psutil.Process(process.pid).cmdline())
        rows = [
            {"image": base64.b64encode(pixels).decode()},
            {"image": f"https://host/a.png?sig={canary('Row')}"},
            {f"https://me:{canary('Key')}@host": "x"},
        ]
        own, wrong = {"Authorization": f"Bearer {token}"}, {"Authorization": f"Bearer {canary('Wrong')}"}
        answers = [
            *(httpx.post(f"{url}/v1/predict?sig={canary('Query')}", json={"rows": [row]}, headers=own) for row in rows),
            httpx.post(f"{url}/v1/predict", json={"rows": rows[:1]}, headers=wrong),
            httpx.get(f"{url}/nowhere/{canary('Where')}?token={canary('Query')}", headers=own),
            httpx.get(f"{url}/metrics", headers=own),
        ]
        process.send_signal(signal.SIGTERM)
        rest, errors = process.communicate()
    assert [answer.status_code for answer in answers] == [200, 422, 422, 401, 404, 200]
    assert tokens_in(command + rest + errors + "".join(lines)) == set()
    # an answer goes to who asked: it may say what that one sent, and must not say what is the server's
    mine = {name.removeprefix("Canary7f3a") for name in (*SECRETS.values(), token, canary("Profile"))}
    assert not mine & {found for answer in answers for found in tokens_in(answer.text)}
    assert tokens_of_files(store) == {}
