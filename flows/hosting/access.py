"""The credential of `crossmodal up`, and what is derived from it: one-time login codes and the browser's session cookie.

Everything derived is an HMAC under the auth string, so each service checks it by itself and nothing but the use of a code
is remembered. A restart of `up` makes a new auth string, which ends every session.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import time

LOGIN_PATH = "/crossmodal/login"
"""Where the login page is, on the origin of Prefect's UI."""
CODE_VALID_S = 600
_USER = "crossmodal"


def new_auth_string() -> str:
    """A fresh random credential, `user:password` as HTTP's Basic authentication and Prefect's auth string have it."""
    return f"{_USER}:{secrets.token_urlsafe(32)}"


def basic_header(auth_string: str) -> str:
    """The value of the Authorization header that programs send."""
    return f"Basic {base64.b64encode(auth_string.encode()).decode()}"


def is_authorized(header: str | None, auth_string: str) -> bool:
    """True when an Authorization header carries the auth string."""
    if header is None or not header.startswith("Basic "):
        return False
    try:
        sent = base64.b64decode(header.removeprefix("Basic "), validate=True)
    except (binascii.Error, ValueError):
        return False
    return hmac.compare_digest(sent, auth_string.encode())


def session_value(auth_string: str) -> str:
    """The value of the session cookie: opens what can be read in a browser, and is of no use as a credential elsewhere."""
    return _mac(auth_string, "session")


def is_session(value: str | None, auth_string: str) -> bool:
    """True when a cookie's value is this session's."""
    return value is not None and hmac.compare_digest(value.encode(), session_value(auth_string).encode())


def new_code(auth_string: str) -> str:
    """A login code that works once, for ten minutes."""
    issued = f"{_now()}-{secrets.token_hex(8)}"
    return f"{issued}-{_login_mac(auth_string, issued)}"


def login_link(prefect_url: str, auth_string: str) -> str:
    """The link that logs a browser in. The code is in the fragment, which is never sent to a server or written to its log."""
    return f"{prefect_url}{LOGIN_PATH}#{new_code(auth_string)}"


class Codes:
    """Login codes as one process accepts them: each once, while valid, and none from before the process started.

    The last rule keeps "once" true when the service is restarted and has forgotten which codes were used.
    """

    def __init__(self, auth_string: str) -> None:
        self._auth_string = auth_string
        self._started = float(_now())
        self._used: dict[str, float] = {}

    def redeem(self, code: str) -> bool:
        """True when the code is valid and was not used before; it is used up then."""
        issued, separator, mac = code.rpartition("-")
        if not separator or not hmac.compare_digest(mac.encode(), _login_mac(self._auth_string, issued).encode()):
            return False
        now = time.time()
        issued_s = float(issued.partition("-")[0])  # a number: its digest was ours
        self._used = {key: at for key, at in self._used.items() if now - at <= CODE_VALID_S}
        if issued in self._used or issued_s < self._started or now - issued_s > CODE_VALID_S:
            return False
        self._used[issued] = issued_s
        return True


def _now() -> str:
    """Seconds since the epoch, as a code holds them."""
    return f"{time.time():.2f}"


def _login_mac(auth_string: str, issued: str) -> str:
    return _mac(auth_string, f"login:{issued}")[:32]  # 128 bits: the link stays short


def _mac(auth_string: str, message: str) -> str:
    return hmac.new(auth_string.encode(), message.encode(), hashlib.sha256).hexdigest()
