"""Calls of Prefect's REST API without Prefect: the credential, and the token that its CSRF protection asks for."""

from __future__ import annotations

import time
import uuid
from http import HTTPStatus
from typing import Any

import httpx

from flows.hosting.access import basic_header

TIMEOUT_S = 30.0
_BUSY_S = (0.5, 1.0, 2.0, 4.0)
"""Waits before a request is sent again for which the server was too busy (its database is locked), as Prefect's client does."""


class PrefectAPI:
    """One server's API. Raises httpx.HTTPError when it does not answer or refuses."""

    def __init__(self, url: str, auth_string: str, timeout_s: float = TIMEOUT_S) -> None:
        self._client = httpx.Client(
            base_url=f"{url}/api/", headers={"Authorization": basic_header(auth_string)}, timeout=timeout_s
        )
        self._csrf: dict[str, str] = {}

    def get(self, path: str) -> Any:
        """The JSON that a path answers."""
        return self._send("GET", path)

    def post(self, path: str, body: object) -> Any:
        """The JSON that a path answers to a body."""
        if not self._csrf:
            client = str(uuid.uuid4())
            token = self.get(f"csrf-token?client={client}")["token"]
            self._csrf = {"Prefect-Csrf-Token": token, "Prefect-Csrf-Client": client}
        return self._send("POST", path, json=body, headers=self._csrf)

    def _send(self, method: str, path: str, **options: Any) -> Any:
        answer = self._client.request(method, path, **options)
        for wait_s in _BUSY_S:
            if answer.status_code != HTTPStatus.SERVICE_UNAVAILABLE:
                break
            time.sleep(wait_s)
            answer = self._client.request(method, path, **options)
        return answer.raise_for_status().json()

    def close(self) -> None:
        """Closes its connections."""
        self._client.close()
