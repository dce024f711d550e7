"""The parts of an explanation: each chunk is an artifact under the digest of all that it depends on. Imports no torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from pydantic import BaseModel

from data_contracts.explanations import ExplanationPartRef, PartName, RowAnswer
from data_contracts.refs import InputName, PreparedChampion, Sha256
from tasks.config import RunConfig
from tasks.explain.rows import Plan, plan_rows, read_rows
from tasks.fingerprint import code_fingerprint
from tasks.samples import Samples
from tasks.store import Store, canonical_json, digest_json, write_text

if TYPE_CHECKING:
    from tasks.explain.make import Chunk

KIND = "explanation_parts"
CONTENT, VECTORS = "part.json", "vectors.safetensors"
SIZES: Mapping[PartName, int] = MappingProxyType({"shapley": 64, "embeddings": 2048, "attributions": 4})
"""Rows of a chunk: some seconds of work, which is what a kill costs. Other parts are one."""
M = TypeVar("M", bound=BaseModel)


def count_chunks(part: PartName, rows: int) -> int:
    """How many chunks a part of so many rows has."""
    return -(-rows // (SIZES.get(part) or max(rows, 1)))


def _chunk(part: PartName, number: int, rows: Sequence[int] | np.ndarray) -> np.ndarray:
    size = SIZES.get(part) or max(len(rows), 1)
    return np.asarray(rows, np.int64)[number * size : (number + 1) * size]


def part_key(
    part: PartName,
    number: int,
    prepared: PreparedChampion,
    answers: ExplanationPartRef | None,
    config: RunConfig,
    store: Store,
) -> str:
    """The digest of all that a chunk depends on: the model, its rows as it reads them, what is asked, and the code."""
    rows, asked = _rows_of(part, number, prepared, answers, config, store), config.explain
    settings: dict[str, object] = {"label": asked.label}
    if part == "attributions":
        settings |= {"inputs": asked.inputs, "n_steps": asked.n_steps, "seed": config.seed}
        settings["tried"] = _tried(number, prepared, answers, config, store)
    if part == "swaps":
        settings["seed"] = config.seed
    champion = prepared.champion
    return digest_json(
        {
            "part": part,
            "model": [champion.model_sha256, champion.card_sha256],
            "rows": _content(rows, tuple(prepared.features)),
            "features": {name: ref.fingerprint for name, ref in sorted(prepared.features.items())},
            "asked": settings,
            "code": code_fingerprint("explain"),
        }
    )


def _content(rows: Samples, names: Sequence[InputName]) -> list[list[str | None]]:
    """What a chunk's rows are: id, label cells, and the digests of their media."""
    columns: list[list[str | None]] = [list(rows.ids), list(rows.labels), list(rows.groups)]
    columns += [rows.digests(name) for name in sorted(names) if name in rows.names]
    return columns


def _rows_of(
    part: PartName,
    number: int,
    prepared: PreparedChampion,
    answers: ExplanationPartRef | None,
    config: RunConfig,
    store: Store,
) -> Samples:
    if part == "embeddings":
        train = train_rows(prepared, store)
        return train.take(_chunk(part, number, np.arange(len(train))))
    samples = read_rows(prepared.valid, config.explain, store)
    if part == "answers":
        return samples
    plan = find_plan(prepared, answers, config, store)
    return samples.take(_chunk(part, number, plan.attributed if part == "attributions" else plan.figures))


def train_rows(prepared: PreparedChampion, store: Store) -> Samples:
    """The rows that a model learns from, in the order of their ids."""
    return Samples.read(store.path(prepared.valid.uri)).of_split("train").sorted_by_id()


def find_plan(prepared: PreparedChampion, answers: ExplanationPartRef | None, config: RunConfig, store: Store) -> Plan:
    """Which rows are explained, from what the model answers to all of them."""
    from tasks.modeling.card import read_card
    from tasks.problems.registry import problem_of

    assert answers is not None  # the first part
    card = read_card(store.path(prepared.champion.uri), prepared.champion.card_sha256)
    is_numeric = problem_of(card.label_targets[0]).is_numeric
    samples = read_rows(prepared.valid, config.explain, store)
    return plan_rows(samples, read_part(answers, RowAnswer, store), config.explain, is_numeric)


def make_part(
    part: PartName,
    number: int,
    prepared: PreparedChampion,
    answers: ExplanationPartRef | None,
    config: RunConfig,
    store: Store,
) -> ExplanationPartRef:
    """A chunk of a part, from the store or new; two runs at once make it once. `answers` is the part of that name; None while
    it is made itself. `config` reads media as the model does."""
    key = part_key(part, number, prepared, answers, config, store)
    if (found := store.find(KIND, key)) is not None:
        return ExplanationPartRef.model_validate(found.ref)
    with store.work_dir(KIND, key):
        if (found := store.find(KIND, key)) is not None:  # made by another run while this one waited
            return ExplanationPartRef.model_validate(found.ref)
        chunk = _read_chunk(part, number, prepared, answers, config, store)
        with store.create(KIND, key, [prepared.valid.uri], code_fingerprint("explain")) as draft:
            sha256 = _write_vectors(draft.path, chunk) if part == "embeddings" else _write_rows(draft.path, part, chunk)
            ref = ExplanationPartRef(
                uri=f"{KIND}/{key}",
                sha256=sha256,
                rows=len(chunk.rows),
                parents=(prepared.valid.sha256,),
                part=part,
                number=number,
            )
            draft.ref = ref.model_dump(mode="json")
    return ref


def read_part(ref: ExplanationPartRef, kind: type[M], store: Store) -> list[M]:
    """What a chunk says of its rows."""
    content = json.loads((store.path(ref.uri) / CONTENT).read_text(encoding="utf-8"))
    return [kind.model_validate(each) for each in content]


def read_vectors(ref: ExplanationPartRef, store: Store) -> np.ndarray:
    """(rows, D) of training rows, of length 1."""
    from safetensors.numpy import load

    found: np.ndarray = load((store.path(ref.uri) / VECTORS).read_bytes())["vectors"]
    return found


def _read_chunk(
    part: PartName,
    number: int,
    prepared: PreparedChampion,
    answers: ExplanationPartRef | None,
    config: RunConfig,
    store: Store,
) -> Chunk:
    """The rows of a chunk with the model; torch is loaded here, and not with the flow."""
    from tasks.explain.make import Chunk
    from tasks.explain.media_rows import load_explainer

    known: dict[str, str] = {}
    if part == "swaps" and answers is not None:
        known = {each.id: each.answer for each in read_part(answers, RowAnswer, store)}
    return Chunk(
        explainer=load_explainer(prepared, config, store),
        rows=_rows_of(part, number, prepared, answers, config, store),
        tried=_tried(number, prepared, answers, config, store) if part == "attributions" else (),
        answers=known,
        prepared=prepared,
        config=config,
        store=store,
    )


def _tried(
    number: int, prepared: PreparedChampion, answers: ExplanationPartRef | None, config: RunConfig, store: Store
) -> list[bool]:
    """Of each row of a chunk of attributions whether orders are tried on it."""
    plan = find_plan(prepared, answers, config, store)
    tried = set(plan.tried.tolist())
    return [place in tried for place in _chunk("attributions", number, plan.attributed).tolist()]


def _write_rows(folder: Path, part: PartName, chunk: Chunk) -> Sha256:
    from tasks.explain.make import MAKE

    content = [each.model_dump(mode="json") for each in MAKE[part](chunk)]
    write_text(folder / CONTENT, canonical_json(content))
    return digest_json(content)


def _write_vectors(folder: Path, chunk: Chunk) -> Sha256:
    from safetensors.numpy import save

    data = save({"vectors": np.ascontiguousarray(chunk.explainer.fusion.fused(chunk.encoded()))})
    (folder / VECTORS).write_bytes(data)
    return hashlib.sha256(data).hexdigest()
