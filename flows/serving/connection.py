"""A connection of the server, which knows whose program is at its other end."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

from flows.hosting.peers import UNLISTED, user_of
from flows.serving.entrance import USER


class Connection(H11Protocol):
    """HTTP/1.1. The system is asked once a connection: to read its list for each request took half of the server's time."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Its requests know the user."""
        super().connection_made(transport)
        gone = self.client is None  # it was closed before it was taken
        self.app_state = {**self.app_state, USER: UNLISTED if gone else user_of(self.client, self.server)}
