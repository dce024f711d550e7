"""The tables of samples that the compared models read: the same rows, and in the target's column what the plan says.

A generated cell is marked where it stands: samples.parquet and the predictions made from it have a column `generated`, which
names the generated inputs of a row.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data_contracts.modalities import in_order, modality_of
from data_contracts.refs import CleanRef, InputName, ValidatedRef
from data_contracts.tables import samples_schema
from data_contracts.translation import GENERATED, ArmPlan
from tasks.config import RunConfig
from tasks.contract import read_table
from tasks.errors import DataError
from tasks.fingerprint import code_fingerprint
from tasks.media.media_store import media_fingerprint
from tasks.samples import METADATA, NEAR_DUPLICATES, SAMPLES, Samples
from tasks.store import Store, digest_file, digest_json

KIND = "translated"
Outputs = Mapping[str, str | None]
"""Digest of a source medium to that of what was generated from it; None where nothing came out."""


def plan_arms(source: InputName, target: InputName, mode: str, has_real: bool) -> list[ArmPlan]:
    """The models that are compared: the first two say whether the generated input helps."""
    both = in_order((source, target))
    if mode == "fill":
        return [
            ArmPlan(name=f"{source} + {target} filled", inputs=both, uses="filled"),
            ArmPlan(name=f"{source} + {target} as it is", inputs=both, uses="real"),
            ArmPlan(name=f"{source} only", inputs=(source,), uses="real"),
        ]
    arms = [
        ArmPlan(name=f"{source} + generated {target}", inputs=both, uses="generated"),
        ArmPlan(name=f"{source} only", inputs=(source,), uses="real"),
        ArmPlan(name=f"generated {target} only", inputs=(target,), uses="generated"),
    ]
    if has_real:
        arms += [
            ArmPlan(name=f"{source} + real {target}", inputs=both, uses="real"),
            ArmPlan(name=f"real {target} only", inputs=(target,), uses="real"),
        ]
    return arms


def cells_of(
    samples: Samples, plan: ArmPlan, target: InputName, source: InputName, outputs: Outputs
) -> list[str | None]:
    """(N,) what stands in the target's column, whatever it is."""
    nothing: list[str | None] = [None] * len(samples)
    real = samples.digests(target) if target in samples.names else nothing
    if plan.uses == "real":
        return real
    made = [None if cell is None else outputs.get(cell) for cell in samples.digests(source)]
    return made if plan.uses == "generated" else [ours or theirs for ours, theirs in zip(real, made, strict=True)]


def make_table(valid: ValidatedRef, plan: ArmPlan, outputs: Outputs, config: RunConfig, store: Store) -> CleanRef:
    """The rows that have the source and something of the plan's inputs, as samples of their own; DataError where none has."""
    asked, clean = config.translate, valid.clean
    by = asked.generator.partition(":")[0]
    key = digest_json(
        {
            "valid": [valid.sha256, valid.uri],
            "plan": plan.model_dump(mode="json"),
            "source": asked.source,
            "target": asked.target,
            "generator": by,
            "outputs": digest_json(dict(outputs)),
            "code": code_fingerprint("translate"),
        }
    )
    if (found := store.find(KIND, key)) is not None:
        return CleanRef.model_validate(found.ref)
    every = Samples.read(store.path(valid.uri))
    columns: dict[str, list[str | None]] = {}
    if asked.target in plan.inputs:
        columns[asked.target] = cells_of(every, plan, asked.target, asked.source, outputs)
    if asked.source in plan.inputs:
        columns[asked.source] = every.digests(asked.source)
    kept = np.asarray(every.has(asked.source), bool)
    kept &= np.array([any(cell is not None for cell in row) for row in zip(*columns.values(), strict=True)], bool)
    if not kept.any():
        raise DataError(f"translate: no row has {' or '.join(plan.inputs)} ({plan.name})")
    marks = _marks(every, plan, asked.target, columns)
    table = _table(every, columns, marks, plan.inputs).filter(pa.array(kept))
    made = sum(mark is not None for mark in table[GENERATED].to_pylist())
    samples = Samples(table)
    notes = (f"{asked.target}: {made:,} of {len(samples):,} cells are generated from {asked.source} by {by}",)
    media = {name: clean.media.get(name) or media_fingerprint(modality_of(name), config.media) for name in plan.inputs}
    with store.create(KIND, key, [valid.uri, clean.uri], code_fingerprint("translate")) as draft:
        pq.write_table(table, draft.path / SAMPLES, compression="zstd")
        _beside(clean, set(samples.ids), draft.path, store)
        ref = clean.model_copy(
            update={
                "uri": f"{KIND}/{key}",
                # of the content: what is learned from equal tables is the same, whatever code wrote them
                "sha256": digest_json([digest_file(draft.path / SAMPLES), clean.labels, media]),
                "rows": len(samples),
                "parents": (valid.sha256,),
                "splits": samples.count_splits(),
                "modalities": plan.inputs,
                "media": media,
                "notes": notes if made else (),
            }
        )
        draft.ref = ref.model_dump(mode="json")
    return ref


def _marks(
    samples: Samples, plan: ArmPlan, target: InputName, columns: Mapping[str, list[str | None]]
) -> list[str | None]:
    """(N,) the name of the target where its cell is generated."""
    if plan.uses == "real" or target not in plan.inputs:
        return [None] * len(samples)
    real = samples.digests(target) if plan.uses == "filled" and target in samples.names else [None] * len(samples)
    return [
        target if cell is not None and own is None else None for cell, own in zip(columns[target], real, strict=True)
    ]


def _table(
    samples: Samples, columns: Mapping[str, list[str | None]], marks: list[str | None], inputs: tuple[InputName, ...]
) -> pa.Table:
    schema = samples_schema(inputs)
    nothing = pa.nulls(len(samples), pa.string())
    own = {"id", "label", "targets", "split", "group", "weight", "row", "table"} & {*samples.names}
    found = {
        name: pa.array(columns[name], pa.string())
        if name in columns
        else samples.column(name)
        if name in own
        else nothing
        for name in schema.names
    }
    return pa.table(found, schema=schema).append_column(GENERATED, pa.array(marks, pa.string()))


def _beside(clean: CleanRef, ids: set[str], folder: Path, store: Store) -> None:
    """What lies beside samples, of these rows; what was refused is as it was."""
    for name in (NEAR_DUPLICATES, METADATA):
        path = store.path(clean.uri) / name
        if path.is_file():
            table = read_table(path)
            kept = pa.array([each in ids for each in table["id"].to_pylist()], pa.bool_())
            pq.write_table(table.filter(kept), folder / name, compression="zstd")
    for name in ("quarantine.parquet", "quarantine.csv"):
        shutil.copyfile(store.path(clean.uri) / name, folder / name)
