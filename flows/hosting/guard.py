"""What stands before every page and API of `crossmodal up`: nobody but its user's own browser and programs gets through.

A port on loopback is open to every program of every local user, and to every web page that the user visits: by a request
across origins, a form, a websocket, a frame, or a name that is rebound to 127.0.0.1. So each request must name this server
(Host), must not come from another origin (Origin, Sec-Fetch-Site), and must carry the credential.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import Any

from flows.hosting.access import is_authorized, is_session

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_SAFE = frozenset({"GET", "HEAD"})
_POLICY_CLOSED = (
    "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)


@dataclass(frozen=True)
class Policy:
    """What one server lets in."""

    auth_string: str = field(repr=False)
    cookie: str
    """The name of the session cookie."""
    origins: dict[str, frozenset[str]]
    """Each accepted value of Host, with the origins that pages of that host have."""
    open_paths: frozenset[str] = frozenset()
    """Answered without credential: health probes, the login page."""
    header_only: tuple[str, ...] = ()
    """Path prefixes that a cookie never opens."""
    cookie_posts: re.Pattern[str] | None = None
    """The paths to which a cookie may POST: searches. Without, a cookie only reads."""
    closed: tuple[str, ...] = ()
    """Path prefixes that nobody gets."""
    websockets: bool = False
    """Whether the app has websockets, and asks for the credential in their first message."""
    content_security_policy: str | None = None
    """Sent where the app sends none."""


@dataclass(frozen=True)
class Refusal:
    """Why a request does not get through."""

    status: int
    reason: str


def own_origins(url: str, extra_hosts: Iterable[str] = ()) -> dict[str, frozenset[str]]:
    """The Host values of a server at this loopback address, and of hosts under which a proxy serves it over HTTPS."""
    port = url.rpartition(":")[2]
    local = [f"{name}:{port}" for name in ("127.0.0.1", "localhost", "[::1]")]
    remote = {host.lower(): frozenset({f"https://{host.lower()}"}) for host in extra_hosts}
    return {host: frozenset({f"http://{host}"}) for host in local} | remote


def refusal(policy: Policy, scope: Scope) -> Refusal | None:
    """Why this request or websocket is refused; None when it may pass."""
    headers = Headers(scope)
    path = re.sub(r"/+", "/", str(scope["path"]))
    return foreign(policy, scope, headers) or _unauthenticated(policy, scope, headers, path)


def foreign(policy: Policy, scope: Scope, headers: Headers) -> Refusal | None:
    """Refuses what names another server, or what a page of another origin caused."""
    own = policy.origins.get((headers.only("host") or "").lower())
    if own is None:
        return Refusal(421, "this server does not go by that name (Host)")
    if any(origin.lower() not in own for origin in headers.all("origin")):
        return Refusal(403, "refused: the request comes from another origin")
    if headers.only("sec-fetch-site", "none") not in {"none", "same-origin"} and not _is_navigation(scope, headers):
        return Refusal(403, "refused: the request comes from another site")
    return None


def _unauthenticated(policy: Policy, scope: Scope, headers: Headers, path: str) -> Refusal | None:
    """Refuses what nobody gets, and what does not carry a credential that is good for it."""
    if _below(path, policy.closed):
        return Refusal(404, "not served here")
    if scope["type"] == "websocket":
        return _websocket_refusal(policy, headers)
    if scope["path"] in policy.open_paths or is_authorized(headers.only("authorization"), policy.auth_string):
        return None
    if not is_session(headers.cookie(policy.cookie), policy.auth_string):
        return Refusal(401, "log in first: crossmodal login prints a link")
    return _beyond_cookie(policy, scope, path)


def _beyond_cookie(policy: Policy, scope: Scope, path: str) -> Refusal | None:
    """Refuses what a cookie is not good for: other local servers receive it too, since cookies do not know ports."""
    if _below(path, policy.header_only):
        return Refusal(401, "the session cookie does not open this; send the Authorization header")
    if scope["method"] not in _SAFE and not (policy.cookie_posts and policy.cookie_posts.search(path)):
        return Refusal(403, "a browser session only reads here; use the command line, or send the Authorization header")
    return None


class Guard:
    """The ASGI app behind its policy. Refusals are short; what the app answers gets the headers that isolate it."""

    def __init__(self, app: App, policy: Policy) -> None:
        self._app = app
        self._policy = policy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuses, or hands on to the app."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        refused = refusal(self._policy, scope)
        if refused is not None:
            await _refuse(refused, scope, send)
        elif scope["type"] == "websocket":
            await self._app(scope, receive, send)
        else:
            await self._app(scope, receive, self._isolating(send))

    def _isolating(self, send: Send) -> Send:
        async def isolate(message: Message) -> None:
            """Sends the message on; the headers of an answer keep other sites from reading or framing it."""
            if message["type"] == "http.response.start":
                message = {**message, "headers": isolated(message.get("headers", []), self._policy)}
            await send(message)

        return isolate


class Headers:
    """The headers of an ASGI scope by name; a header that must be single counts as absent when it is not."""

    def __init__(self, scope: Scope) -> None:
        self._pairs = [(name.lower(), value.decode("latin-1")) for name, value in scope.get("headers", [])]

    def all(self, name: str) -> list[str]:
        """Every value of a header."""
        return [value for key, value in self._pairs if key == name.encode()]

    def only(self, name: str, default: str | None = None) -> str | None:
        """The value of a header that is there once; the default when it is absent; an empty one when it is repeated."""
        values = self.all(name)
        if len(values) > 1:
            return ""
        return values[0] if values else default

    def cookie(self, name: str) -> str | None:
        """The value of a cookie."""
        for text in self.all("cookie"):
            try:
                morsel = SimpleCookie(text).get(name)
            except CookieError:
                continue
            if morsel is not None:
                return str(morsel.value)
        return None


def isolated(headers: Iterable[tuple[bytes, bytes]], policy: Policy) -> list[tuple[bytes, bytes]]:
    """Response headers without leave for other origins, and with what keeps the page out of their frames and windows."""
    kept = [(name, value) for name, value in headers if not name.lower().startswith(b"access-control-")]
    ours = {
        b"x-content-type-options": b"nosniff",
        b"x-frame-options": b"SAMEORIGIN",
        b"cross-origin-opener-policy": b"same-origin",
        b"cross-origin-resource-policy": b"same-origin",
        b"referrer-policy": b"no-referrer",
    }
    if policy.content_security_policy is not None:
        ours[b"content-security-policy"] = policy.content_security_policy.encode()
    there = {name.lower() for name, _ in kept}
    return kept + [(name, value) for name, value in ours.items() if name not in there]


def _websocket_refusal(policy: Policy, headers: Headers) -> Refusal | None:
    """A browser's socket needs the cookie beside the app's own first message; a program's has only that message."""
    if not policy.websockets:
        return Refusal(403, "no websockets here")
    if headers.all("origin") and not is_session(headers.cookie(policy.cookie), policy.auth_string):
        return Refusal(403, "log in first")
    return None


def _is_navigation(scope: Scope, headers: Headers) -> bool:
    """True for a link that was followed in a window of its own: it shows this server's page and hands nothing back."""
    return (
        scope["type"] == "http"
        and scope["method"] == "GET"
        and headers.only("sec-fetch-mode") == "navigate"
        and headers.only("sec-fetch-dest") == "document"
    )


def _below(path: str, prefixes: Iterable[str]) -> bool:
    return any(path == prefix or path.startswith(f"{prefix}/") for prefix in prefixes)


async def _refuse(refused: Refusal, scope: Scope, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})  # before the handshake is accepted: HTTP 403
        return
    wants_page = refused.status == 401 and _is_navigation(scope, Headers(scope))
    body, kind = (_LOGIN_HINT, b"text/html") if wants_page else (f"{refused.reason}\n", b"text/plain")
    headers = [
        (b"content-type", kind + b"; charset=utf-8"),
        (b"content-length", str(len(body.encode())).encode()),
        (b"cache-control", b"no-store"),
        (b"content-security-policy", _POLICY_CLOSED.encode()),
        (b"x-content-type-options", b"nosniff"),
    ]
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body.encode()})


_LOGIN_HINT = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Log in · crossmodal</title>
<style>
  :root { color-scheme: light dark }
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 34rem; margin: 15vh auto; padding: 0 1.2rem }
  code { background: color-mix(in srgb, currentColor 10%, transparent); padding: .15em .4em; border-radius: .3em }
</style>
<h1>Log in</h1>
<p>This browser has no session with the <code>crossmodal up</code> that runs here, or that <code>up</code> was restarted.</p>
<p>In a terminal, in the folder where it was started, run</p>
<p><code>crossmodal login</code></p>
<p>and open the link that it prints. It works once, for ten minutes.</p>
</html>
"""
