"""A checkpoint: the artifact of a model with its card and its history. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from data_contracts.modalities import in_order
from data_contracts.refs import CheckpointRef, Ref
from data_contracts.training_history import HISTORY, TrainingHistory
from tasks.fingerprint import code_fingerprint
from tasks.modeling.card import CARD, read_card
from tasks.problems.registry import width
from tasks.store import Store, digest_file, digest_json
from tasks.train.request import TrainJob

KIND = "checkpoints"
FILES = ("model.safetensors", CARD, HISTORY)


def commit(
    job: TrainJob,
    key: str,
    base: str | None,
    learned_from: Sequence[Ref],
    work: Path,
    store: Store,
    stage: str = "train",
) -> CheckpointRef:
    """The model, card and history in `work` are the checkpoint under `key`; `learned_from`: other models that made it;
    `stage`: whose code did."""
    weights_sha256, card_sha256 = (digest_file(work / name) for name in FILES[:2])
    history = TrainingHistory.model_validate_json((work / HISTORY).read_text(encoding="utf-8"))
    read = [job.features[name] for name in in_order(job.features)]
    ref = CheckpointRef(
        uri=f"{KIND}/{key}",
        sha256=digest_json({"model": weights_sha256, "card": card_sha256}),
        rows=job.valid.clean.splits.get("train", 0),
        parents=(
            job.valid.sha256,
            *(ref.sha256 for ref in read),
            *(ref.test_time.sha256 for ref in read if ref.test_time is not None),
            *(ref.sha256 for ref in learned_from),
        ),
        model_sha256=weights_sha256,
        train_key=key,
        base_key=base,
        modalities=in_order(job.features),
        labels=job.valid.clean.label_targets[0].labels,
        outputs=width(job.valid.clean.label_targets),
        best_epoch=history.best_epoch,
        epochs=len(history.epochs),
    )
    made_from = [job.valid.uri, *(ref.uri for ref in learned_from)]
    with store.create(KIND, key, made_from, code_fingerprint(stage)) as draft:
        for name in (*FILES, *read_card(work).files_beside()):
            (work / name).rename(draft.path / name)
        draft.ref = ref.model_dump(mode="json")
    return ref
