"""When the server takes connections, and how it ends."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from types import FrameType

import uvicorn

from flows.serving.heap import settle_heap


class Server(uvicorn.Server):
    """Says that it is open once it takes connections; answers what is under way once it is asked to end."""

    def __init__(
        self, config: uvicorn.Config, opened: Callable[[], None], announce: Callable[[str, str], None]
    ) -> None:
        super().__init__(config)
        self.interrupted = False
        """Whether Ctrl-C asked it to end, and not SIGTERM, after which the end is a good one."""
        self._opened, self._announce = opened, announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Connections are taken. Said no earlier: who reads it connects at once, and a bound socket still refuses."""
        await super().startup(sockets)
        settle_heap()
        self._opened()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """No new requests are taken; at the second Ctrl-C this process is over, its exit status 130.

        uvicorn's own would raise every signal again once all is answered: two Ctrl-C as a traceback of asyncio's.
        """
        again = self.should_exit and sig == signal.SIGINT
        self.should_exit, self.interrupted = True, self.interrupted or sig == signal.SIGINT
        if again:
            self._announce("ended", "at once, by a second Ctrl-C: what was under way is not answered")
            os._exit(130)  # threads that wait for decoders would be waited for
