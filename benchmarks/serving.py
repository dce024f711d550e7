"""What serving costs: one row in this process, one row over HTTP, many clients at a time, and twice what it can answer.

    python -m benchmarks.serving [--model digits] [--store .crossmodal] [--rounds 3] [--clients 8,16,32]

A row is a picture of a digit (PNG), a second of sound (WAV) and a sentence. The ways take turns, medians over the rounds; the
clients are in a process of their own on the same machine, so what they take is in every figure. Twice the rate: requests
leave by the clock, whether or not the ones before are answered, and every answer must be 200 or 429. (Of 300 requests a second
each of 32 clients that wait for their answers waits for 107 ms on average: look at 16 for a p99 of 100 ms.)
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import io
import json
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import psutil
import soundfile
from PIL import Image

import crossmodal
from benchmarks.measure import machine, median, program

ONE = 100
"""Requests of a round, one after the other."""
MANY = 600
"""Requests of a round, by all clients together."""
IDLE_S = 4.0
"""After so long a client opens another connection: the server ends one after 5 s, perhaps as it is used again."""


def example_row() -> dict[str, Any]:
    """Media as bytes, and a text."""
    from sklearn.datasets import load_digits

    picture, sound = io.BytesIO(), io.BytesIO()
    Image.fromarray((load_digits().images[3] * 15).astype(np.uint8)).resize((32, 32)).save(picture, "PNG")
    soundfile.write(sound, 0.3 * np.sin(np.arange(8000) / 5), 8000, "PCM_16", format="WAV")
    return {"image": picture.getvalue(), "audio": sound.getvalue(), "text": "this one is a three"}


@dataclass
class Load:
    """What a number of clients found."""

    seconds: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    wall_s: float = 0.0

    @property
    def rate(self) -> float:
        """Requests answered with 200 a second."""
        return self.statuses[200] / self.wall_s

    def share_ms(self, share: float) -> float:
        """The quantile of the answers' times."""
        return 1000 * float(np.quantile(self.seconds, share))


class Client:
    """One connection that stays: enough of HTTP/1.1 for what the server answers, so that clients cost little."""

    def __init__(self, port: int, body: bytes) -> None:
        head = f"POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        self._port, self._message = port, f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._used = 0.0

    async def ask(self, load: Load, began: float | None = None) -> None:
        """Adds one answer; its time counts from `began`."""
        began = time.perf_counter() if began is None else began
        if self._streams is None or time.perf_counter() - self._used > IDLE_S:
            self.close()
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        writer.write(self._message)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        await reader.readexactly(int(head.partition(b"content-length:")[2].partition(b"\r\n")[0]))
        self._used = time.perf_counter()
        load.statuses[int(head.split(b" ", 2)[1])] += 1
        load.seconds.append(time.perf_counter() - began)

    def close(self) -> None:
        """The connection is closed."""
        if self._streams is not None:
            self._streams[1].close()


async def closed_loop(port: int, body: bytes, clients: int, requests: int) -> Load:
    """Each client asks again as soon as it is answered."""
    load, crew = Load(), [Client(port, body) for _ in range(clients)]

    async def repeat(client: Client) -> None:
        """One client's requests."""
        for _ in range(requests // clients):
            await client.ask(load)

    began = time.perf_counter()
    await asyncio.gather(*map(repeat, crew))
    load.wall_s = time.perf_counter() - began
    for client in crew:
        client.close()
    return load


async def open_loop(port: int, body: bytes, rate: float, requests: int) -> Load:
    """Requests leave by the clock; those that find all connections busy open another."""
    load = Load()
    idle: list[Client] = []
    began = time.perf_counter()

    async def one(due: float) -> None:
        """One request."""
        client = idle.pop() if idle else Client(port, body)
        await client.ask(load, due)
        idle.append(client)

    tasks = []
    for number in range(requests):
        due = began + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        tasks.append(asyncio.create_task(one(due)))
    await asyncio.gather(*tasks)
    load.wall_s = time.perf_counter() - began
    for client in idle:
        client.close()
    return load


@contextmanager
def serving(model: str, store: str) -> Iterator[tuple[int, psutil.Process]]:
    """A server on a free port, and its process."""
    command = [program("crossmodal"), "serve", model, "--store", store, "--port", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            opened = next(event["text"] for event in map(json.loads, process.stdout) if event["event"] == "open")
            yield int(opened.rstrip("/").rpartition(":")[2]), psutil.Process(process.pid)
        finally:
            process.send_signal(signal.SIGTERM)


def memory_mb(process: psutil.Process) -> float:
    """Of the server and its decoding processes; what they share counts once each."""
    found: float = sum(each.memory_full_info().pss for each in [process, *process.children(recursive=True)]) / 1e6
    return found


def cpu_s(process: psutil.Process) -> float:
    """What the server and its decoding processes have computed: the same on a busy machine as on a quiet one, nearly."""
    times = [each.cpu_times() for each in [process, *process.children(recursive=True)]]
    found: float = sum(each.user + each.system for each in times)
    return found


def in_process_ms(model: crossmodal.Model, row: dict[str, Any]) -> float:
    """The median time of one row."""
    times = []
    for _ in range(ONE):
        began = time.perf_counter()
        model.predict([row])
        times.append(time.perf_counter() - began)
    return 1000 * median(times)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description="What serving costs")
    parser.add_argument("--model", default="digits")
    parser.add_argument("--store", default=".crossmodal")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clients", default="8,16,32")
    options = parser.parse_args()
    row = example_row()
    media = {name: base64.b64encode(row[name]).decode() for name in ("image", "audio")}
    body = json.dumps({"rows": [{**media, "text": row["text"]}]}).encode()
    print(machine("torch", "fastapi", "uvicorn"))
    print(f"load average {os.getloadavg()[0]:.1f} at the start, body {len(body)} bytes")
    model = crossmodal.load(options.model, store=options.store)
    model.predict([row])
    with serving(options.model, options.store) as (port, process):
        asyncio.run(closed_loop(port, body, 8, 80))
        here, http = [], []
        many: dict[int, list[Load]] = {int(text): [] for text in options.clients.split(",")}
        began_s = cpu_s(process)
        for _ in range(options.rounds):
            here.append(in_process_ms(model, row))
            http.append(asyncio.run(closed_loop(port, body, 1, ONE)).share_ms(0.5))
            for clients, loads in many.items():
                loads.append(asyncio.run(closed_loop(port, body, clients, MANY)))
        print(f"one row in process   p50 {median(here):6.1f} ms")
        print(f"one row over HTTP    p50 {median(http):6.1f} ms")
        for clients, loads in many.items():
            rate = median([load.rate for load in loads])
            p50, p99 = (median([load.share_ms(share) for load in loads]) for share in (0.5, 0.99))
            print(f"{clients:3} clients          {rate:6.0f} requests/s, p50 {p50:.0f} ms, p99 {p99:.0f} ms")
        asked = options.rounds * (ONE + sum(MANY // clients * clients for clients in many))
        print(f"CPU of the server per request {1000 * (cpu_s(process) - began_s) / asked:.1f} ms")
        best = max(median([load.rate for load in loads]) for loads in many.values())
        for _ in range(2):  # the first time its queues fill, they take memory
            before = memory_mb(process)
            twice = asyncio.run(open_loop(port, body, 2 * best, int(20 * best)))
            told = ", ".join(f"{count} x {status}" for status, count in sorted(twice.statuses.items()))
            print(f"at {2 * best:.0f} requests/s for 10 s: {told}; p99 {twice.share_ms(0.99):.0f} ms")
            print(f"memory of the server {before:.0f} MB before, {memory_mb(process):.0f} MB after")
    print(f"load average {os.getloadavg()[0]:.1f} at the end")


if __name__ == "__main__":
    main()
