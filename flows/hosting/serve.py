"""Serves an ASGI app on loopback behind the guard. Addresses and the auth string come from the environment."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import urlsplit

from flows.hosting.guard import App, Guard, Policy, own_origins

AUTH_STRING = "PREFECT_SERVER_API_AUTH_STRING"
PREFECT_URL, MLFLOW_URL, PAGES_URL = "CROSSMODAL_PREFECT_URL", "CROSSMODAL_MLFLOW_URL", "CROSSMODAL_PAGES_URL"
ALLOWED_HOSTS = "CROSSMODAL_ALLOWED_HOSTS"
"""Names under which a proxy that ends TLS serves these pages, with commas."""
STOP_S = 5
"""How long open connections may take to end."""


def policy_of(
    url: str,
    *,
    open_paths: frozenset[str],
    header_only: tuple[str, ...] = (),
    cookie_posts: re.Pattern[str] | None = None,
    closed: tuple[str, ...] = (),
    websockets: bool = False,
    content_security_policy: str | None = None,
) -> Policy:
    """The policy of the server at this address. The cookie is one for all three, since a browser sends it to every port."""
    extra = [host.strip() for host in os.environ.get(ALLOWED_HOSTS, "").split(",") if host.strip()]
    return Policy(
        auth_string=os.environ[AUTH_STRING],
        cookie=f"crossmodal-{urlsplit(os.environ[PAGES_URL]).port}",
        origins=own_origins(url, extra),
        open_paths=open_paths,
        header_only=header_only,
        cookie_posts=cookie_posts,
        closed=closed,
        websockets=websockets,
        content_security_policy=content_security_policy,
    )


def run_guarded(app: App, url: str, policy: Policy, keep_alive_s: int = 5) -> None:
    """Blocks until SIGTERM or SIGINT. No access log: a log is no place for addresses, and nobody reads it."""
    import uvicorn

    uvicorn.run(
        Guard(app, policy),
        host="127.0.0.1",
        port=urlsplit(url).port or 80,
        timeout_keep_alive=keep_alive_s,
        timeout_graceful_shutdown=STOP_S,
        ws="auto" if policy.websockets else "none",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,  # the guard goes by Host; nothing here depends on the client's address
    )


def store_root() -> Path:
    """The store that `up` serves."""
    return Path(os.environ["CROSSMODAL_STORE"])
