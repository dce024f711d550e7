"""What every request passes: its id, who may ask, and the headers of the answer.

Without a token only the user's own programs and pages get in: the port is on loopback, each request must name this server
(Host) and come from no page of another origin, so that no web page reaches it by a name that is rebound to 127.0.0.1, and
where the system says whose program asks (Linux), it must be the user's, or root's.
"""

from __future__ import annotations

import hmac
import logging
import os
import re
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

from flows.hosting.guard import App, Headers, Message, Policy, Receive, Scope, Send, foreign, isolated
from flows.serving.problems import HttpProblem

log = logging.getLogger("crossmodal.serve")
OPEN = frozenset({"/", "/healthz", "/readyz"})
"""Answered without the token: probes, and the page, which asks for it."""
USER = "user"
"""In the state of a request's scope: what `user_of` found when its connection was made."""
_ROOT = 0
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/=+-]{1,128}")


@dataclass(frozen=True)
class Access:
    """Who may ask."""

    token: str | None = field(repr=False)
    """None: the user's own programs on this machine."""
    policy: Policy
    """The names of this server, for requests without a token, and the headers that isolate its answers."""

    def refuse(self, scope: Scope, headers: Headers) -> HttpProblem | None:
        """Why a request is refused; None when it may pass."""
        if self.token is None:
            refused = foreign(self.policy, scope, headers)
            if refused is not None:
                return HttpProblem(refused.status, "foreign", refused.reason)
        if scope["path"] in OPEN:
            return None
        if self.token is None:
            return _refuse_other_users(scope)
        scheme, _, sent = (headers.only("authorization") or "").partition(" ")
        if scheme.lower() == "bearer" and hmac.compare_digest(sent.strip().encode(), self.token.encode()):
            return None
        return HttpProblem(
            401, "unauthorized", "send the token: Authorization: Bearer …", headers={"WWW-Authenticate": "Bearer"}
        )


def _refuse_other_users(scope: Scope) -> HttpProblem | None:
    user = scope.get("state", {}).get(USER)
    if user in (None, _ROOT, os.getuid()):
        return None
    return HttpProblem(403, "foreign", "another user of this machine asks: start the server with a token, and send it")


class Entrance:
    """The app behind it, which answers also what goes wrong in it. `done` receives path, status and seconds of each."""

    def __init__(self, app: App, access: Access, done: Callable[[str, int, float], None]) -> None:
        self._app, self._access, self._done = app, access, done

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuses, or hands on to the app."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)  # the lifespan; uvicorn runs without websockets
            return
        began, headers = time.perf_counter(), Headers(scope)
        request_id = _request_id(headers)
        scope.setdefault("state", {})["request_id"] = request_id
        status, complete = 0, False

        async def send_on(message: Message) -> None:
            """Sends the message on; the head of an answer with its id and the isolating headers."""
            nonlocal status, complete
            if message["type"] == "http.response.start":
                status = message["status"]
                named = [*message.get("headers", []), (b"x-request-id", request_id.encode())]
                message = {**message, "headers": isolated(named, self._access.policy)}
            await send(message)
            complete = message["type"] == "http.response.body" and not message.get("more_body")

        try:
            refused = self._access.refuse(scope, headers)
            if refused is not None:
                await refused.response(request_id)(scope, receive, send_on)
            else:
                await self._app(scope, receive, send_on)
        except Exception:
            log.exception("request %s failed", request_id)
            if not complete:  # else its answer says that it failed
                raise
        finally:
            self._done(scope["path"], status, time.perf_counter() - began)


def _request_id(headers: Headers) -> str:
    """The client's own, where it is a plain one, else a new one."""
    sent = headers.only("x-request-id") or ""
    return sent if _REQUEST_ID.fullmatch(sent) else uuid.uuid4().hex
