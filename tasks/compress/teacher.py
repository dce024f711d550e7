"""What a published model says of the rows that a student trains on: computed once, test rows never."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data_contracts.compression import TeacherRef
from data_contracts.refs import PreparedChampion, Target
from tasks.errors import DataError
from tasks.fingerprint import code_fingerprint
from tasks.modeling.card import CARD, ModelCard, read_card
from tasks.samples import Samples
from tasks.store import Store, digest_file, digest_json, replace_file

KIND = "teachers"
TABLE = "teacher.parquet"


def teacher_key(prepared: PreparedChampion, samples: Samples, store: Store) -> str:
    """The digest of the model and of the inputs of these rows: their labels change nothing."""
    names = sorted(prepared.features)
    return digest_json(
        {
            "model": [prepared.champion.model_sha256, digest_file(store.path(prepared.champion.uri) / CARD)],
            "rows": samples.table(["id", *names]).to_pydict(),
            "features": {name: prepared.features[name].fingerprint for name in names},
            "code": code_fingerprint("compress"),
        }
    )


def ask_teacher(prepared: PreparedChampion, store: Store) -> TeacherRef:
    """The model's outputs and fused features of all train and val rows, from the store where they are there.

    Raises DataError where it answers other labels than the rows have.
    """
    folder = store.path(prepared.champion.uri)
    card = read_card(folder, prepared.champion.card_sha256)
    require_same_labels(card, prepared.valid.clean.label_targets)
    samples = Samples.read(store.path(prepared.valid.uri)).of_split("train", "val").sorted_by_id()
    key = teacher_key(prepared, samples, store)
    if (found := store.find(KIND, key)) is not None:
        return TeacherRef.model_validate(found.ref)
    content = _answers(prepared, card, samples, store)
    made_from = [prepared.champion.uri, prepared.valid.uri]
    with store.create(KIND, key, made_from, code_fingerprint("compress")) as draft:
        replace_file(draft.path / TABLE, content)
        ref = TeacherRef(
            uri=f"{KIND}/{key}",
            sha256=digest_file(draft.path / TABLE),
            rows=len(samples),
            parents=(prepared.champion.sha256, prepared.valid.sha256),
            model_sha256=prepared.champion.model_sha256,
        )
        draft.ref = ref.model_dump(mode="json")
    return ref


def require_same_labels(card: ModelCard, targets: tuple[Target, ...]) -> None:
    """DataError unless a student of these rows has the outputs that the teacher has."""
    theirs, ours = ([(each.problem, each.labels) for each in columns] for columns in (card.label_targets, targets))
    if theirs != ours:
        said = [", ".join(each.labels) or each.problem for each in (card.label_targets[0], targets[0])]
        raise DataError(
            f"a student has the labels of its teacher: the model answers {said[0]}, and the rows have {said[1]}; name data "
            "with the model's labels, or retrain with encoders tiny"
        )


def _answers(prepared: PreparedChampion, card: ModelCard, samples: Samples, store: Store) -> bytes:
    """A Parquet table of id, outputs (outputs,) and, where the model has them, fused (hidden,)."""
    from tasks.modeling.fusion.classifier import Output
    from tasks.modeling.inference import for_each_batch, load_inputs, to_outputs
    from tasks.modeling.package import load_model

    model = load_model(store.path(prepared.champion.uri), card, prepared.champion.model_sha256)
    logits, fused = list[np.ndarray](), list[np.ndarray]()

    def keep(rows: np.ndarray, output: Output) -> None:
        """What a batch gives, in order."""
        logits.append(output.logits.float().cpu().numpy())
        if output.fused is not None:
            fused.append(output.fused.float().cpu().numpy())

    for_each_batch(model, load_inputs(model, samples, prepared.features, store), keep)
    found = {"outputs": to_outputs(model, np.concatenate(logits))}
    if fused:
        found["fused"] = np.concatenate(fused)
    columns = {"id": pa.array(samples.ids, pa.string())}
    columns |= {name: pa.array(list(values), pa.list_(pa.float32())) for name, values in found.items()}
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink, compression="zstd")
    return sink.getvalue()
