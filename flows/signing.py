"""The key that publications are signed with, from a file or a Secret block of Prefect: the config names it, no more."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

from pydantic import SecretBytes

from flows.environment import use_prefect
from flows.request import Request
from tasks import progress
from tasks.errors import EnvironmentFailed, UsageError
from tasks.modeling.signing_keys import parse_private_key

BLOCK = "prefect-block:"
_MAX_BYTES = 10_000


def load_sign_key(request: Request) -> SecretBytes | None:
    """The private key that `publish.sign_key` names, None where it names none.

    Raises UsageError where it is none, EnvironmentFailed where Prefect does not answer.
    """
    where = request.config.publish.sign_key
    if where is None:
        return None
    content = _of_block(where.removeprefix(BLOCK), request) if where.startswith(BLOCK) else _of_file(Path(where))
    parse_private_key(content, where)  # said before the training, not after it
    return SecretBytes(content)


def _of_file(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            content = file.read(_MAX_BYTES)
    except OSError as error:
        raise UsageError(f"publish.sign_key {path}: cannot be read ({error.strerror})") from None
    if mode & 0o077:
        progress.log(f"publish.sign_key {path}: others may read it ({mode:04o}); chmod 600 {path}", "warning")
    return content


def _of_block(name: str, request: Request) -> bytes:
    if request.prefect_run_id is None:  # outside of a flow run nobody has said yet where Prefect's server is
        use_prefect(request.store.root)
    from prefect.blocks.system import Secret
    from prefect.exceptions import PrefectException

    try:
        block: Any = Secret.load(name, _sync=True)  # type: ignore[call-arg]  # in a notebook, where a loop runs, too
    except ValueError:
        raise UsageError(
            f"publish.sign_key {BLOCK}{name}: there is no Secret block of that name; make one in Prefect's UI, or with "
            "prefect block create secret"
        ) from None
    except (PrefectException, OSError) as error:
        raise EnvironmentFailed(
            f"publish.sign_key {BLOCK}{name}: Prefect does not answer ({type(error).__name__}); see PREFECT_API_URL"
        ) from None
    return str(block.get()).encode()
