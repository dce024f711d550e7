"""`crossmodal serve`: the socket, the token, the model and uvicorn, until SIGTERM or Ctrl-C."""

from __future__ import annotations

import errno
import ipaddress
import logging
import os
import socket
import stat
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from flows.hosting.guard import Policy, own_origins
from flows.request import Request
from flows.serving.limits import Limits
from tasks.errors import UsageError
from tasks.modeling.signing import describe_signature
from tasks.redaction import redact_output

if TYPE_CHECKING:
    import uvicorn
    from starlette.types import ASGIApp

    from data_contracts.refs import ChampionRef
    from flows.serving.predictor import Predictor

TOKEN = "CROSSMODAL_SERVE_TOKEN"
_LEAST_TOKEN = 16
_SWITCH_S = 0.001
"""Until a thread that runs Python lets another one do so. The network's thread asks for its turn after each of some hundred
operations; at Python's default of 5 ms it waits for longer than it computes while requests are read."""
_NAMES_OF_LOOPBACK = {"localhost"}
Announce = Callable[[str, str], None]


def read_token(file: str | None, environment: Mapping[str, str]) -> str | None:
    """The token: the file's, else the environment's; None where there is neither. UsageError for one that is no secret."""
    if file is None:
        token, where = environment.get(TOKEN), TOKEN
        if not token:
            return None
    else:
        token, where = _private_text(Path(file).expanduser()), f"--token-file {file}"
    token = token.strip()
    if len(token) < _LEAST_TOKEN or not token.isascii() or any(character.isspace() for character in token):
        raise UsageError(
            f"{where}: is no token of at least {_LEAST_TOKEN} ASCII characters without spaces; make one with: "
            "(umask 077; openssl rand -hex 32 > token)"
        )
    return token


def _private_text(path: Path) -> str:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & 0o077:
                raise UsageError(f"--token-file {path}: others may read it ({mode:04o}); chmod 600 {path}")
            return file.read(4096)
    except OSError as error:
        raise UsageError(f"--token-file {path}: cannot be read ({error.strerror})") from None


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() in _NAMES_OF_LOOPBACK


def require_token(host: str, token: str | None) -> None:
    """Raises UsageError where other machines could ask without one."""
    if token is None and not is_loopback(host):
        raise UsageError(
            f"--host {host}: other machines would reach the model without a token; give one (--token-file FILE, or {TOKEN} "
            "in the environment), or leave --host out"
        )


def open_socket(host: str, port: int) -> socket.socket:
    """A bound socket. UsageError where the port is taken or the address is none of this machine's."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        # asyncio turns Nagle's algorithm off only where the protocol is named: else each answer takes 40 ms more
        bound = socket.socket(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise UsageError(f"--port {port}: is in use; choose another, or 0 for a free one") from None
        raise UsageError(f"--host {host} --port {port}: cannot be listened on ({error.strerror or error})") from None
    return bound


def serve(
    model: str,
    request: Request,
    host: str,
    port: int,
    token: str | None,
    limits: Limits,
    announce: Announce,
) -> None:
    """Answers until SIGTERM or Ctrl-C; what is under way then is answered.

    Raises UsageError where there is no such model, where the port is taken, and where the host needs a token.
    """
    require_token(host, token)
    with open_socket(host, port) as bound:
        _run(model, request, bound, token, limits, announce)


def _run(
    model: str, request: Request, bound: socket.socket, token: str | None, limits: Limits, announce: Announce
) -> None:
    import importlib.metadata

    from threadpoolctl import threadpool_limits

    from flows.serving.app import make_app
    from flows.serving.entrance import Access
    from flows.serving.listening import Server
    from flows.serving.loading import find_published, load_predictor, names_folder
    from flows.serving.predictor import THREADS
    from flows.serving.rotation import AliasWatch, Rotation
    from flows.serving.service import Service

    champion = find_published(model, request)
    import torch  # not before it is known that there is a model

    torch.set_num_threads(THREADS)  # for all threads to come: to set it for each batch clears what torch has prepared
    predictor = load_predictor(champion, request, limits.decoders)
    predictor.warm_up()
    address, number = bound.getsockname()[:2]
    url = f"http://{f'[{address}]' if ':' in address else address}:{number}"
    service = Service(Rotation(predictor), limits)
    watch = AliasWatch(
        service.rotation,
        lambda: find_published(model, request),
        lambda champion: load_predictor(champion, request, limits.decoders),
        limits.poll_s,
        service.metrics.count_swap,
    )
    access = Access(token, Policy(auth_string="", cookie="", origins=own_origins(url)))

    def start() -> None:
        """The alias is watched."""
        if not names_folder(model):
            watch.start()

    def stop() -> None:
        """All that was asked is answered."""
        if not names_folder(model):
            watch.close()
        service.close()

    def tell() -> None:
        """What answers, and where."""
        _announce_model(model, champion, predictor, request, announce)
        announce("open", f"{url}/")

    # Requests are prepared side by side already: NumPy's own threads would wait for each other at every product of matrices
    threadpool_limits(THREADS, user_api="blas")
    sys.setswitchinterval(_SWITCH_S)
    redact_output()
    logging.basicConfig(format="%(asctime)s %(name)s %(levelname)s %(message)s", level=logging.WARNING)
    logging.getLogger("python_multipart").setLevel(logging.ERROR)  # who sent a broken form gets the error
    app = make_app(service, access, importlib.metadata.version("crossmodal"), start, stop)
    server = Server(_uvicorn_config(app, limits), tell, announce)
    server.run([bound])
    if server.interrupted:
        raise KeyboardInterrupt


def _announce_model(
    model: str, champion: ChampionRef, predictor: Predictor, request: Request, announce: Announce
) -> None:
    """What answers, who signed it, and that it is not the champion where it waits to become it."""
    from tasks.publish.approval import CHALLENGER

    announce("model", f"{predictor.name} version {predictor.version}: reads {', '.join(predictor.columns)}")
    announce("signature", describe_signature(champion.signed_by, request.verify_key is not None))
    if model.endswith(f"@{CHALLENGER}"):
        which = f"{predictor.name} {predictor.version}"
        announce("waits", f"not the champion; make it so with crossmodal models promote {which} --reason ...")


def _uvicorn_config(app: ASGIApp, limits: Limits) -> uvicorn.Config:
    """How the server listens: no line for a request, and no word about itself."""
    import uvicorn

    from flows.serving.connection import Connection

    return uvicorn.Config(
        app,
        http=Connection,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=int(limits.timeout_s) + 5,
        ws="none",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
    )
