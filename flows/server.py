"""A Prefect server through Prefect's own client, whatever goes wrong with it told as our errors."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING
from uuid import UUID

from tasks.errors import EnvironmentFailed
from tasks.names import one_line

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient


@contextlib.contextmanager
def on_server() -> Iterator[tuple[SyncPrefectClient, Callable[[str], UUID]]]:
    """Gives the client of the server that PREFECT_API_URL names, and a function from FLOW/NAME to a deployment's id.

    Raises EnvironmentFailed where the server does not answer, refuses, or lacks a deployment.
    """
    import httpx
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
    from prefect.settings import PREFECT_API_URL

    if not PREFECT_API_URL.value():
        raise EnvironmentFailed(
            "no Prefect server: set PREFECT_API_URL, for example to http://127.0.0.1:4200/api, which crossmodal up starts"
        )
    try:
        with get_client(sync_client=True) as client:

            def deployment_id(name: str) -> UUID:
                try:
                    return client.read_deployment_by_name(name).id
                except ObjectNotFound:
                    raise EnvironmentFailed(
                        f"deployment {name!r}: not on the Prefect server; deploy first (prefect deploy --prefect-file "
                        "deployments/prefect.yaml --all), or name another"
                    ) from None

            yield client, deployment_id
    except PrefectHTTPStatusError as error:
        raise EnvironmentFailed(f"Prefect server: {one_line(str(error), 300)}") from None
    except httpx.HTTPError as error:
        told = one_line(str(error), 300)
        raise EnvironmentFailed(f"Prefect server: {type(error).__name__}: {told}; check PREFECT_API_URL") from None
