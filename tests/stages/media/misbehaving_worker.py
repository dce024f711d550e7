"""The real worker with a text decoder that does what its input says: run by test_pool.py as the pool's command."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasks.media import worker
from tasks.media.canonical import Canonical, Undecodable


def decode(data: bytes, limits: Mapping[str, Any]) -> Canonical:
    order, _, argument = data.decode().partition(" ")
    if order == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif order == "hang":
        os.kill(os.getpid(), signal.SIGSTOP)  # nothing that it does by itself wakes it: not even its own alarm
    elif order == "balloon":
        bytearray(8 << 30)
    elif order == "raise":
        raise KeyError("a bug in the decoder")
    elif order == "print":
        print("noise " * 100, flush=True)
    elif order == "write":
        try:
            Path(argument).write_bytes(b"stolen")
        except OSError as error:
            raise Undecodable("no-write", error.strerror or "") from None
    elif order == "limits":
        status = Path("/proc/self/status").read_text()
        privileges = status.partition("NoNewPrivs:")[2].split()[0]
        cpu_s, handles = (resource.getrlimit(kind)[0] for kind in (resource.RLIMIT_CPU, resource.RLIMIT_NOFILE))
        raise Undecodable("limits", f"{privileges} {cpu_s} {handles}")
    elif order == "hoard":
        hoard = []
        try:
            for _ in range(1000):
                hoard.append(Path(__file__).open("rb"))  # noqa: SIM115
        except OSError as error:
            raise Undecodable("no-handles", error.strerror or "") from None
    elif order == "large":
        return Canonical((1,), b"x" * int(argument))
    return Canonical((len(data),), data)


if __name__ == "__main__":
    worker.DECODERS["text"] = decode
    worker.main()
