"""The history of an alias, kept as numbered tags on the registered model, one tag a move.

A move is written down before the alias moves, so a kill in between leaves a last entry that did not happen: it is
recognised because the alias still stands where that move began, and it is written once only when the work is repeated.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict

from tasks.errors import PromotionRefused
from tasks.publish.versions import aliased_version

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from tasks.publish.lease import Lease

Action = Literal["publish", "promote", "rollback"]


class Move(BaseModel):
    """One move of an alias."""

    model_config = ConfigDict(frozen=True)

    action: Action
    version: str
    previous: str | None
    run: str | None = None
    """The run that published it; None for a move by hand."""
    by: str | None = None
    """Who moved it by hand, and below when (ms since 1970) and why."""
    at_ms: int | None = None
    reason: str | None = None


def read_moves(tags: dict[str, str], alias: str, current: str | None) -> list[Move]:
    """The moves that happened, oldest first. One made past us (in MLflow's own UI) is added at the end."""
    prefix = _prefix(alias)
    written = [Move.model_validate(json.loads(tags[key])) for key in sorted(tags) if key.startswith(prefix)]
    after = [*(move.previous for move in written[1:]), current]
    moves = [
        move for move, stands in zip(written, after, strict=False) if stands == move.version or stands != move.previous
    ]
    if current is not None and (not moves or moves[-1].version != current):
        moves.append(Move(action="promote", version=current, previous=moves[-1].version if moves else None))
    return moves


def champions_before(moves: list[Move]) -> list[str]:
    """Versions that a rollback can go to, nearest first: what was promoted and not rolled back since."""
    stack: list[str] = []
    for move in moves:
        if move.action == "rollback":
            if move.version in stack:
                del stack[len(stack) - stack[::-1].index(move.version) :]
            else:
                stack = [move.version]
        elif not stack or stack[-1] != move.version:
            stack.append(move.version)
    return stack[-2::-1]


def move_alias(client: MlflowClient, name: str, alias: str, move: Move, lease: Lease) -> None:
    """The alias points to the move's version, and the history says so.

    PromotionRefused where the alias no longer points to where the move begins: it was decided on something else. Raises
    EnvironmentFailed where the lease was lost.
    """
    lease.require()
    current = aliased_version(client, name, alias)
    stands = None if current is None else str(current.version)
    if stands != move.previous:
        raise PromotionRefused(
            f"model {name} version {move.version}: the alias {alias!r} points to {_shown(stands)} now, and pointed to "
            f"{_shown(move.previous)} when this was decided; it was not moved. Look at crossmodal models history {name}, and "
            "run it again"
        )
    tags = client.get_registered_model(name).tags
    keys = sorted(key for key in tags if key.startswith(_prefix(alias)))
    last = Move.model_validate(json.loads(tags[keys[-1]])) if keys else None
    unfinished = last is not None and (last.version, last.previous) == (move.version, move.previous)
    if not unfinished:
        number = int(keys[-1].rpartition(".")[2]) + 1 if keys else 1
        client.set_registered_model_tag(name, f"{_prefix(alias)}{number:06d}", move.model_dump_json())
    client.set_registered_model_alias(name, alias, move.version)


def _shown(version: str | None) -> str:
    return "no version" if version is None else f"version {version}"


def _prefix(alias: str) -> str:
    return f"crossmodal.move.{alias}."
