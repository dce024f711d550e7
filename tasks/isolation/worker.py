"""A worker's side: requests come in on what was stdin, answers go out on what was stdout, whole and in order."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from typing import BinaryIO

from tasks.isolation.wire_protocol import Message, pack, unpack
from tasks.redaction import redact_output

PARENT = "CROSSMODAL_PARENT"
"""In a worker's environment: the id of the process that started it."""
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_ORPHANED = 4


class Parent:
    """The process that started this one."""

    def __init__(self, source: BinaryIO, sink: BinaryIO) -> None:
        self._source, self._sink = source, sink

    @classmethod
    def connect(cls) -> Parent:
        """Takes over stdin and stdout; printing goes to stderr from here on. Linux ends this process with its parent."""
        redact_output()  # into a log that the store keeps
        source, sink = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
        os.dup2(2, 1)  # what a library prints must not end up between the answers
        parent = os.environ.get(PARENT)
        if parent is not None and sys.platform == "linux":
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != int(parent):  # it died before we asked
                os._exit(_ORPHANED)
        return cls(source, sink)

    def receive(self) -> Message:
        """The next request; EOFError where the parent is gone."""

        def read(size: int) -> bytes:
            """Exactly so many bytes. Raises as above."""
            data = self._source.read(size)
            if len(data) != size:
                raise EOFError
            return data

        return unpack(read)

    def send(self, header: Mapping[str, object], payload: bytes = b"") -> int:
        """The parent gets a whole message; its size in bytes."""
        message = pack(header, payload)
        self._sink.write(message)
        self._sink.flush()
        return len(message)

    def fail(self, name: str, text: str) -> None:
        """The answer ends with this error, which the parent raises: `name` is a class of tasks/errors.py."""
        self.send({"error": name, "text": text})

    def answer(self, run: Callable[[], object]) -> int:
        """Runs what answers a request, and says that it is done, or with which error of ours it ended: the exit status."""
        from tasks.errors import CrossmodalError  # not for those that must start fast and small

        try:
            run()
        except CrossmodalError as error:
            self.fail(type(error).__name__, str(error))
            return error.exit_code
        self.send({"done": True})
        return 0

    def watch(self) -> None:
        """No request will follow: this process ends when its parent does, on any system."""

        def _wait() -> None:
            self._source.read()
            os._exit(_ORPHANED)

        threading.Thread(target=_wait, daemon=True).start()
