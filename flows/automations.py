"""The automations of a file on a Prefect server: created, or updated where they differ."""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, cast
from uuid import UUID

from flows.hosting.registering import prefect_client
from tasks.errors import UsageError
from tasks.escaping import one_line

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.events.schemas.automations import AutomationCore

WEBHOOK = "crossmodal"
"""Name of Prefect's webhook block that keeps the address, encrypted in the server's database."""
_DEPLOYMENT = "prefect.deployment."
Json = Any


class Applied(TypedDict):
    """What became of one automation."""

    automation: str
    outcome: Literal["created", "updated", "unchanged", "left out"]
    detail: str


def apply_automations(root: Path, path: str | None, webhook_url: str | None) -> list[Applied]:
    """The file's automations are on the server of this store's `crossmodal up`, or of PREFECT_API_URL.

    Applied again, nothing changes; one that a person paused stays so. Without a webhook, now or from before, actions that call
    one are left out. Raises UsageError for a wrong file, address or deployment, EnvironmentFailed where no server answers.
    """
    entries = read_entries(path)
    with prefect_client(root) as client:
        block = _webhook(webhook_url)
        return [_apply(client, entry, block, lambda name: str(deployment_id(client, name))) for entry in entries]


def deployment_id(client: SyncPrefectClient, name: str) -> UUID:
    """The id of the deployment FLOW/NAME. UsageError where the server has none of that name."""
    from prefect.exceptions import ObjectNotFound

    try:
        return client.read_deployment_by_name(name).id
    except ObjectNotFound:
        raise UsageError(
            f"deployment {name!r}: not on the Prefect server; register ours with crossmodal deploy, or name another"
        ) from None


def read_entries(path: str | None) -> list[dict[str, Json]]:
    """The entries of an automations file, the shipped one by default. UsageError where it is none."""
    import yaml

    file = Path(path) if path else Path(str(resources.files("deployments"))) / "automations.yaml"
    try:
        entries = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"automations {file}: cannot be read ({error.strerror})") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"automations {file}: not readable as YAML ({one_line(str(error), 200)})") from None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) and "name" in entry for entry in entries):
        raise UsageError(f"automations {file}: expected a list of automations, each with a name")
    return entries


def as_automation(
    entry: dict[str, Json], deployment: Callable[[str], str], block: Callable[[str], str | None]
) -> AutomationCore | None:
    """An entry with ids in the place of names; None where no action is left. UsageError where Prefect refuses it."""
    from prefect.events.schemas.automations import AutomationCore
    from pydantic import ValidationError

    actions = []
    for action in entry.get("actions", []):
        named = action.get("block_document_id")
        found = None if named is None else block(str(named).removeprefix("webhook/"))
        if named is None or found is not None:
            actions.append(action | ({} if found is None else {"block_document_id": found}))
    if not actions:
        return None
    try:
        return AutomationCore.model_validate(
            _with_ids(entry | {"actions": actions, "tags": ["crossmodal"]}, deployment)
        )
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise UsageError(f"automation {entry['name']!r}: {place}: {first['msg']}") from None


def _with_ids(value: Json, deployment: Callable[[str], str], key: str = "") -> Json:
    if isinstance(value, dict):
        return {name: _with_ids(item, deployment, name) for name, item in value.items()}
    if isinstance(value, list):
        return [_with_ids(item, deployment) for item in value]
    if isinstance(value, str) and key == "deployment_id":
        return deployment(value)
    if isinstance(value, str) and value.startswith(_DEPLOYMENT) and "/" in value:
        return _DEPLOYMENT + deployment(value.removeprefix(_DEPLOYMENT))
    return value


def _apply(
    client: SyncPrefectClient, entry: dict[str, Json], block: str | None, deployment: Callable[[str], str]
) -> Applied:
    name = str(entry["name"])
    automation = as_automation(entry, deployment, lambda _: block)
    if automation is None:
        return {
            "automation": name,
            "outcome": "left out",
            "detail": "it calls a webhook, and there is none (--webhook)",
        }
    found = client.read_automations_by_name(name)
    if not found:
        client.create_automation(automation)
        return {"automation": name, "outcome": "created", "detail": automation.description}
    before = found[0]
    automation.enabled = before.enabled
    if do_the_same(before, automation):
        return {"automation": name, "outcome": "unchanged", "detail": automation.description}
    client.update_automation(before.id, automation)
    return {"automation": name, "outcome": "updated", "detail": automation.description}


def do_the_same(before: AutomationCore, after: AutomationCore) -> bool:
    """Whether two automations have the same name, trigger and actions. Sets are equal in any order, which JSON gives them."""
    fields = {"name", "description", "enabled", "tags", "trigger", "actions"}
    return before.model_dump(include=fields) == after.model_dump(include=fields)


def _webhook(url: str | None) -> str | None:
    """The id of the webhook block, which holds `url` where one is given; None where there is none.

    Prefect's own block: its address is a secret of the server's, and local addresses are allowed unless one forbids them.
    """
    from prefect.blocks.webhook import Webhook
    from prefect.types import SecretDict
    from pydantic import SecretStr

    if url is not None:
        if not url.startswith(("http://", "https://")):
            raise UsageError("--webhook: expected an address that begins with https:// or http://")
        block = Webhook(url=SecretStr(url), headers=SecretDict({"Content-Type": "application/json"}))
        return str(block.save(WEBHOOK, overwrite=True))
    try:
        loaded = cast(Webhook, Webhook.load(WEBHOOK))  # a coroutine only inside an event loop
    except ValueError:  # what Prefect raises for a block that does not exist
        return None
    return str(loaded._block_document_id)  # Prefect has no public name for it
