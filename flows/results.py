"""What stages left, and what a person has to do about a candidate that passed."""

from __future__ import annotations

from collections import Counter

import pyarrow as pa

from data_contracts.refs import COUNTED_APART, CleanRef, ReleaseRef, ValidatedRef, Verdict
from tasks.config import RunConfig
from tasks.contract import read_table
from tasks.samples import Samples
from tasks.store import Store


def results_in(store: Store) -> frozenset[str]:
    """Store paths of the stages' results that are there."""
    kinds = ("clean", "checkpoints", "evaluations")
    return frozenset(f"{kind}/{path.name}" for kind in kinds for path in (store.root / kind).glob("*"))


def ask_for_approval(release: ReleaseRef, config: RunConfig, verdict: Verdict) -> str:
    """What a person has to do about a candidate that passed, and why it passed."""
    stands = {
        "needs-approval": "waits, as a rule of the gate asks for it,",
        "inconclusive": "waits, as the gate could not decide on these rows and live ones may (crossmodal score, feedback),",
    }.get(verdict.decision, "passes the gate and waits")
    return (
        f"{release.name} version {release.version} {stands} {config.gate.approval_days:g} days for approval: "
        f"crossmodal models promote {release.name} {release.version} --reason ..., or reject, or the deployment promote "
        f"({verdict.reason.removeprefix('promoted: ').removeprefix('needs approval: ').removeprefix('inconclusive: ')})"
    )


def quarantine_of(store: Store, clean: CleanRef, valid: ValidatedRef | None) -> pa.Table:
    """Every row that was not used: refused by ingest, and `leaked` where validation left it out of train."""
    refused = read_table(store.path(clean.uri) / "quarantine.parquet")
    if valid is None or valid.rows == clean.rows:
        return refused
    kept = set(Samples.read(store.path(valid.uri)).ids)
    samples = Samples.read(store.path(clean.uri))
    why = {
        "modality": None,
        "path": None,
        "reason": "leaked",
        "detail": "its duplicate or its group is on another side of the split",
    }
    leaked = [
        {"id": name, "row": row, "table": table, **why}
        for name, row, table in zip(samples.ids, samples.manifest_rows, samples.tables, strict=True)
        if name not in kept
    ]
    return pa.concat_tables([refused, pa.Table.from_pylist(leaked, schema=refused.schema)])


def reasons_of(store: Store, clean: CleanRef, valid: ValidatedRef | None) -> dict[str, int]:
    """Reason code to the number of rows that were quarantined for it, `leaked` ones included; the others are listed apart."""
    reasons = Counter(quarantine_of(store, clean, valid)["reason"].to_pylist())
    return {reason: rows for reason, rows in reasons.items() if reason not in COUNTED_APART}
