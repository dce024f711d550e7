"""`crossmodal login`: a link that logs a browser in to the `crossmodal up` of a store."""

from __future__ import annotations

from flows.commands.options import CommonOptions, grouped
from flows.console import print_json, say
from flows.hosting.access import CODE_VALID_S, login_link
from flows.hosting.credentials import read_running
from tasks.errors import UsageError
from tasks.shared_store import store_option


@grouped
def login(common: CommonOptions) -> None:
    """Print a link that logs a browser in to the `crossmodal up` of this store. It works once, for ten minutes."""
    root = common.place.root
    running = read_running(root)
    if running is None:
        raise UsageError(f"store {root}: no crossmodal up serves it; start one with crossmodal up {store_option(root)}")
    link = login_link(running.prefect_url, running.auth_string)
    if common.as_json:
        urls = {"prefect": running.prefect_url, "mlflow": running.mlflow_url, "pages": running.pages_url}
        print_json({"link": link, "valid_s": CODE_VALID_S, **urls})
    else:
        say(link)
