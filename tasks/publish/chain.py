"""What a verdict rests on: its own record, and those of the evaluation, the checkpoint and the data, each of which names the
links of what it was made from, down to the samples."""

from __future__ import annotations

from data_contracts.refs import CheckpointRef, Frozen, ValidatedRef, Verdict
from tasks.errors import EnvironmentFailed, PromotionRefused
from tasks.store import Store


class Link(Frozen):
    """One record of the chain."""

    uri: str
    """Store path of the verdict, the evaluation, the checkpoint, the validated or the clean samples."""
    sha256: str
    """Digest of what it says, of the links of what it was made from, and of its code."""
    code: str | None
    """Digest of the code that made it."""


def chain_of(verdict: Verdict, store: Store) -> tuple[Link, ...]:
    """The verdict's record and all that it was made from, nearest first.

    Raises EnvironmentFailed where one of them is gone, damaged, or not what the verdict rests on.
    """
    waiting: list[tuple[str, str | None]] = [(verdict.uri, None)]
    found: dict[str, Link] = {}
    while waiting:
        uri, named = waiting.pop(0)
        record = store.record_of(uri)
        if record is None or named not in (None, record.link):
            what = "is gone or damaged" if record is None else "is not what was decided on"
            raise EnvironmentFailed(
                f"verdict {verdict.uri}: rests on {uri}, which {what}; run crossmodal retrain again"
            )
        found[uri] = Link(uri=uri, sha256=record.link, code=record.code)
        waiting += [(parent, link) for parent, link in record.parents.items() if parent not in found]
    return tuple(found.values())


def require_chained(verdict: Verdict, checkpoint: CheckpointRef, valid: ValidatedRef, store: Store) -> tuple[Link, ...]:
    """The chain of a verdict on this checkpoint and these samples.

    Raises PromotionRefused where it is on others, EnvironmentFailed where the chain is broken.
    """
    chain = chain_of(verdict, store)
    lacking = {checkpoint.uri, valid.uri} - {link.uri for link in chain}
    if lacking:
        raise PromotionRefused(
            f"verdict {verdict.uri}: does not rest on {', '.join(sorted(lacking))}; run crossmodal retrain again"
        )
    return chain
