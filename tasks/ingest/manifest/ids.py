"""Ids of rows that the manifest gives none."""

from __future__ import annotations

from collections import Counter

from data_contracts.modalities import INPUTS
from data_contracts.refs import ALWAYS
from tasks.ingest.manifest.raw_rows import RawRow
from tasks.modalities import spec_of
from tasks.store import digest_json

_DIGEST = {name: f"{name}_sha256" for name in INPUTS}


def fill_ids(rows: list[RawRow], seen: Counter[str]) -> list[RawRow]:
    """A row without an id gets the digest of its media, so that it keeps its split when rows are added.

    On both sides of a given split it is two samples: that is leakage, for validate to report, and needs two ids. `seen` counts
    what is equal over all calls for one table.
    """
    for row in rows:
        if row["id"] is None:
            filled = {name: sha256 for name in INPUTS if (sha256 := row.get(_DIGEST[name]))}
            content = [row.get(_DIGEST[name]) for name in ALWAYS]
            content += [f"{name}:{sha256}" for name, sha256 in filled.items() if name not in ALWAYS]
            side = [row["split"]] if row.get("split") else []
            identity = digest_json(
                [*content, *side]
                if any(content)
                else ["row", row["row"], *([row["table"]] if row.get("table") else [])]
            )
            if not any(spec_of(name).identifies for name in filled):
                seen[identity] += 1  # of rows that may well be equal, each is a sample
                identity = identity if seen[identity] == 1 else digest_json([identity, seen[identity]])
            row["id"] = identity[:24]
    return rows
