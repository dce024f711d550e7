"""The login page: exchanges the one-time code of a link for the session cookie and for what Prefect's UI keeps.

It lies on the origin of Prefect's UI, which is the only place of a browser where the auth string is kept (its local storage,
which other ports cannot read). The cookie, which they can, is never exchanged for it.
"""

from __future__ import annotations

import base64
import hashlib
import json

from flows.hosting.access import LOGIN_PATH, Codes, session_value
from flows.hosting.guard import App, Policy, Receive, Scope, Send, isolated

_LONGEST_BODY = 1000


class WithLogin:
    """An app with the login page on its origin. The page itself is open: without a code there is nothing to have."""

    def __init__(self, app: App, policy: Policy, next_url: str) -> None:
        self._app = app
        self._policy = policy
        self._next_url = next_url
        self._codes = Codes(policy.auth_string)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers the login path, hands on the rest."""
        if scope["type"] != "http" or scope["path"] != LOGIN_PATH:
            await self._app(scope, receive, send)
        elif scope["method"] == "GET":
            await self._answer(send, 200, "text/html", _PAGE, [(b"content-security-policy", _PAGE_POLICY)])
        elif scope["method"] == "POST":
            await self._exchange(await _read(receive), send)
        else:
            await self._answer(send, 405, "text/plain", "GET or POST\n", [])

    async def _exchange(self, code: str, send: Send) -> None:
        if not self._codes.redeem(code):
            await self._answer(send, 403, "text/plain", "used, expired or unknown\n", [])
            return
        stored = base64.b64encode(self._policy.auth_string.encode()).decode()  # as Prefect's own login form stores it
        cookie = f"{self._policy.cookie}={session_value(self._policy.auth_string)}; Path=/; HttpOnly; SameSite=Strict"
        body = json.dumps({"password": stored, "next": self._next_url})
        await self._answer(send, 200, "application/json", body, [(b"set-cookie", cookie.encode())])

    async def _answer(self, send: Send, status: int, kind: str, body: str, extra: list[tuple[bytes, bytes]]) -> None:
        headers = [
            (b"content-type", f"{kind}; charset=utf-8".encode()),
            (b"content-length", str(len(body.encode())).encode()),
            (b"cache-control", b"no-store"),
            *extra,
        ]
        await send({"type": "http.response.start", "status": status, "headers": isolated(headers, self._policy)})
        await send({"type": "http.response.body", "body": body.encode()})


async def _read(receive: Receive) -> str:
    """The body of a request, at most a code's length."""
    body, more = b"", True
    while more and len(body) <= _LONGEST_BODY:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body.decode("utf-8", "replace")


_SCRIPT = """
const code = location.hash.slice(1);
history.replaceState(null, "", location.pathname);
const say = text => { document.querySelector("p").innerHTML = text; };
const help = "Run <code>crossmodal login</code> in a terminal for a fresh one.";
if (!code) say("This link has no code. " + help);
else fetch(location.pathname, {method: "POST", body: code, cache: "no-store"}).then(async answer => {
  if (!answer.ok) return say("This link was used already, or is older than ten minutes. " + help);
  const {password, next} = await answer.json();
  localStorage.setItem("prefect-password", password);
  location.replace(next);
}, () => say("The server does not answer. " + help));
"""
_HASH = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()
_PAGE_POLICY = (
    f"default-src 'none'; script-src 'sha256-{_HASH}'; style-src 'unsafe-inline'; connect-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
).encode()
_PAGE = f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Log in · crossmodal</title>
<style>
  :root {{ color-scheme: light dark }}
  body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 34rem; margin: 15vh auto; padding: 0 1.2rem }}
  code {{ background: color-mix(in srgb, currentColor 10%, transparent); padding: .15em .4em; border-radius: .3em }}
</style>
<h1>Log in</h1><p>Logging in …</p><noscript>The login page and Prefect's UI need JavaScript.</noscript>
<script>{_SCRIPT}</script>
</html>
"""
