"""A real `crossmodal serve`: asked without a pause while its alias moves and while it ends, and used by its page."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from flows.hosting.services import executable
from tests.support.browser import WAIT_MS, chromium
from tests.support.data import SMALL, write_learnable
from tests.waiting import wait_until

pytestmark = pytest.mark.slow
TOKEN = "a-token-of-many-characters"


@dataclass(frozen=True)
class World:
    """A store with two versions of a model, the second one champion."""

    store: Path
    data: Path

    def call(self, *command: str) -> None:
        done = subprocess.run(
            executable(["crossmodal", *command, "--store", str(self.store)]),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


@dataclass
class Served:
    """A running server."""

    process: subprocess.Popen[str]
    url: str
    log: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("serve")
    made = World(folder / "store", write_learnable(folder / "learnable").parent)
    small = [
        part for value in (*SMALL, "gate.rules=[]", "gate.margin=1", "gate.min_rows=20") for part in ("--set", value)
    ]
    for seed in ("0", "1"):
        made.call("retrain", "--plain", "--data", str(made.data / "manifest.csv"), *small, "--set", f"seed={seed}")
    return made


@contextlib.contextmanager
def serving(world: World, *options: str, token: str = "") -> Iterator[Served]:
    command = ["crossmodal", "serve", "learnable", "--port", "0", "--poll-s", "0.1", "--timeout-s", "600", *options]
    process = subprocess.Popen(
        executable([*command, "--store", str(world.store), "--json"]),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "CROSSMODAL_SERVE_TOKEN": token},
    )
    assert process.stdout is not None
    try:
        events: dict[str, str] = {}
        for line in process.stdout:
            event = json.loads(line)
            events[event["event"]] = event["text"]
            if event["event"] == "open":
                break
        assert "open" in events, process.communicate()
        yield Served(process, events["open"].rstrip("/"))
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


class Clients:
    """Four threads that ask without a pause."""

    def __init__(self, url: str, rows: list[dict[str, Any]]) -> None:
        self.statuses: list[int] = []
        self.versions: list[str] = []
        self.refused = 0
        """Connections that the ending server did not take any more."""
        self._url, self._rows, self._stop = url, rows, threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(4)]
        for thread in self._threads:
            thread.start()

    def _ask(self, number: int) -> None:
        with httpx.Client(timeout=600) as client:
            while not self._stop.is_set():
                try:
                    answer = client.post(f"{self._url}/v1/predict", json={"rows": [self._rows[number]]})
                except (httpx.ConnectError, httpx.RemoteProtocolError, httpx.ReadError):
                    self.refused += 1
                    return
                self.statuses.append(answer.status_code)
                self.versions.append(answer.json()["version"])

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def rows_of(world: World) -> list[dict[str, Any]]:
    pictures = [base64.b64encode((world.data / f"img/{number}.png").read_bytes()).decode() for number in range(4)]
    return [{"image": picture, "text": f"it is {('low', 'high')[at % 2]}"} for at, picture in enumerate(pictures)]


def test_no_request_is_lost_while_the_alias_moves_there_and_back(world: World) -> None:
    with serving(world) as served:
        clients = Clients(served.url, rows_of(world))
        try:
            wait_until(lambda: clients.versions[-1:] == ["2"], "version 2 answers")
            world.call("models", "rollback", "learnable")
            wait_until(lambda: clients.versions[-4:] == ["1"] * 4, "version 1 answers")
            world.call("models", "promote", "learnable", "2", "--reason", "again")
            wait_until(lambda: clients.versions[-4:] == ["2"] * 4, "version 2 answers again")
        finally:
            clients.stop()
        assert set(clients.statuses) == {200}
        assert clients.refused == 0
        changes = [
            one for one, other in zip(clients.versions, [*clients.versions[1:], ""], strict=True) if one != other
        ]
        assert {"1", "2"} == set(changes)
        metrics = httpx.get(f"{served.url}/metrics", timeout=600).text
        assert 'crossmodal_swaps_total{outcome="done"} 2.0' in metrics
        served.process.send_signal(signal.SIGTERM)
        out, errors = served.process.communicate()
        assert (served.process.returncode, out) == (0, ""), errors
        assert "version 1 answers now, instead of 2" in errors
        assert "Traceback" not in errors


def test_sigterm_ends_it_once_all_that_was_asked_is_answered(world: World) -> None:
    with serving(world) as served:
        clients = Clients(served.url, rows_of(world))
        wait_until(lambda: len(clients.statuses) > 8, "it is busy")
        served.process.send_signal(signal.SIGTERM)
        _, errors = served.process.communicate()
        clients.stop()
        assert served.process.returncode == 0, errors
        assert set(clients.statuses) == {200}
        assert "Traceback" not in errors


def test_a_second_ctrl_c_ends_it_at_once_and_without_a_traceback(world: World) -> None:
    with serving(world) as served:
        port = int(served.url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as half:
            head = f"POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
            half.sendall(f"{head}Content-Length: 1000\r\nExpect: 100-continue\r\n\r\n".encode())
            assert half.recv(1000).startswith(b"HTTP/1.1 100"), "it reads the body"
            served.process.send_signal(signal.SIGINT)
            wait_until(lambda: not _takes_connections(port), "it takes no more")
            assert served.process.poll() is None
            served.process.send_signal(signal.SIGINT)
            said, errors = served.process.communicate()
        assert served.process.returncode == 130
        assert "by a second Ctrl-C" in said
        assert "Traceback" not in errors


def _takes_connections(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionError:
        return False
    return True


def test_wrong_starts_end_with_one_line(world: World) -> None:
    with serving(world) as served:
        port = served.url.rpartition(":")[2]
        for arguments, said in {
            ("nobody",): "model nobody@champion: not in the registry; it holds learnable",
            ("learnable", "--port", port): f"--port {port}: is in use",
            ("learnable", "--host", "0.0.0.0"): "other machines would reach the model without a token",
        }.items():
            done = subprocess.run(
                executable(["crossmodal", "serve", *arguments, "--store", str(world.store)]),
                capture_output=True,
                text=True,
                check=False,
            )
            assert (done.returncode, said in done.stderr, done.stderr.count("\n")) == (2, True, 1), done.stderr


def test_schemathesis_finds_nothing_that_its_description_does_not_say(world: World, tmp_path: Path) -> None:
    """All its checks but one: a row without any input, or a picture that is none, fits the schema and is a 422."""
    command = ["st", "run", "--exclude-checks", "positive_data_acceptance", "--generation-deterministic"]
    limits = ["--max-examples", "20", "--workers", "1", "--request-timeout", "600", "--no-color"]
    with serving(world) as served:
        done = subprocess.run(
            [*executable(command), *limits, f"{served.url}/openapi.json"],
            cwd=tmp_path,  # its database of examples
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert re.search(r"(\d{2,}) generated, \1 passed", done.stdout), done.stdout
        assert httpx.get(f"{served.url}/readyz").status_code == 200


def drop(page: Any, picture: Path) -> None:
    """The file falls on the page's field for pictures."""
    page.evaluate(
        """content => {
          const bytes = Uint8Array.from(atob(content), letter => letter.charCodeAt(0)), moved = new DataTransfer();
          moved.items.add(new File([bytes], "1.png", {type: "image/png"}));
          const box = document.querySelector("#input-image").closest("fieldset");
          box.dispatchEvent(new DragEvent("drop", {dataTransfer: moved, bubbles: true, cancelable: true}));
        }""",
        base64.b64encode(picture.read_bytes()).decode(),
    )


def test_the_page_answers_by_keyboard_and_by_drop_and_asks_for_the_token(world: World) -> None:
    picture = world.data / "img/1.png"
    with serving(world, token=TOKEN) as served, chromium() as browser:
        page = browser.new_context(color_scheme="dark").new_page()
        page.set_default_timeout(WAIT_MS)
        said: list[str] = []
        page.on("pageerror", lambda error: said.append(str(error)))
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{served.url}/")
        page.locator("#token").fill(TOKEN)
        page.keyboard.press("Enter")
        page.locator("#input-text").focus()
        page.keyboard.type("it is high")
        for _ in range(9):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.id") == "ask":
                break
        page.keyboard.press("Enter")
        page.locator("#used").wait_for()
        assert page.locator("#label").inner_text() in ("high", "low")
        assert page.locator("#used").inner_text().startswith("used text · learnable version 2")
        assert page.locator("#answer tr").count() == 2
        drop(page, picture)
        page.locator("#ask").click()
        page.get_by_text("used image + text").wait_for()
        page.set_input_files("#input-audio", {"name": "x.wav", "mimeType": "audio/wav", "buffer": b"no sound"})
        page.locator("#ask").click()
        page.get_by_text("row 0, audio: unreadable-audio").wait_for()
        assert said == []
        assert {url.startswith((served.url, "blob:")) for url in asked} == {True}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_explains_by_keyboard_what_an_answer_rests_on(world: World, scheme: str) -> None:
    with serving(world) as served, chromium() as browser:
        page = browser.new_context(color_scheme=scheme, viewport={"width": 390, "height": 844}).new_page()
        page.set_default_timeout(WAIT_MS)
        said: list[str] = []
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(f"{served.url}/")
        page.locator("#input-text").focus()
        page.keyboard.type("it is high")
        drop(page, world.data / "img/1.png")
        page.locator("#input-image ~ div img").wait_for()
        for _ in range(9):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.id") == "why":
                break
        page.keyboard.press("Enter")
        page.locator("#shapley").wait_for()
        assert page.locator("#shapley th").all_inner_texts() == ["image", "text"]
        widths = page.locator("#shapley i").evaluate_all("bars => bars.map(bar => parseFloat(bar.style.width))")
        assert sum(widths) == pytest.approx(100, abs=0.1)
        label = page.locator("#label").inner_text()
        page.get_by_text(f"What {label} rests on: Shapley values, from").wait_for()
        assert page.locator(".words span").all_inner_texts() == ["it", "is", "high"]
        painted = page.get_by_role("img", name="which places of the picture").evaluate(
            """canvas => {
              const bytes = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data, colours = new Set();
              for (let at = 0; at < bytes.length; at += 4) colours.add(bytes.slice(at, at + 3).join());
              return colours.size;
            }"""
        )
        assert painted > 100, "the picture with its heat map, not one colour"
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert page.evaluate("document.activeElement.id") == "why", "who asks by keyboard goes on from there"
        assert said == []
