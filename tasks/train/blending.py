"""Two trained models made one: both answer, and the mean of their calibrated logits is what the model says.

Nothing is trained here. The networks of one model and the classical features of the other read the same inputs, so the blend is
an ordinary checkpoint of the first one's features; its temperature and its thresholds are chosen on the validation rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from data_contracts.refs import CheckpointRef, ValidatedRef
from data_contracts.training_history import HISTORY, TrainingHistory
from tasks.fingerprint import code_fingerprint
from tasks.modeling.card import BlendMember, ModelCard, read_card
from tasks.store import Store, canonical_json, digest_json, write_text
from tasks.train.checkpoint import KIND, commit
from tasks.train.paired_losses import TrainedModel
from tasks.train.request import TrainJob, read_samples

if TYPE_CHECKING:
    from tasks.modeling.fusion.classifier import FusedClassifier


def stored_blend(members: Sequence[CheckpointRef], store: Store) -> CheckpointRef | None:
    """The blend of these models as it was made before; None where it was not."""
    found = store.find(KIND, _key(members))
    return None if found is None else CheckpointRef.model_validate(found.ref)


def blend_models(members: Sequence[TrainedModel], valid: ValidatedRef, store: Store) -> CheckpointRef:
    """The model that answers with the mean of these, each of the same weight; it reads what the first one does.

    They are of the same rows and settings but their encoders, and were trained from scratch.
    """
    refs = [member.checkpoint for member in members]
    known = stored_blend(refs, store)
    if known is not None:
        return known
    from tasks.modeling.package import load_model, save_model

    first, key = members[0], _key(refs)
    cards = [read_card(store.path(ref.uri)) for ref in refs]
    models = [load_model(store.path(ref.uri), card) for ref, card in zip(refs, cards, strict=True)]
    card, network = _put_together(cards, models)
    job = TrainJob(valid=valid, features=dict(first.features), config=first.config, store=str(store.root))
    with store.scratch_dir() as work:
        found, history = _calibrated(card, network, job, store)
        folder = store.path(first.checkpoint.uri)
        files = {name: (folder / name).read_bytes() for name in card.files_beside()}
        save_model(network, work, found, files)
        before = TrainingHistory.model_validate_json((folder / HISTORY).read_text(encoding="utf-8"))
        history["members"] = tuple(ref.model_sha256 for ref in refs)
        whole = history | {"parameters": sum(parameter.numel() for parameter in network.parameters())}
        write_text(
            work / HISTORY, canonical_json(before.model_copy(update=whole).model_dump(mode="json", exclude_unset=True))
        )
        return commit(job, key, None, refs, work, store, stage="blend")


def _put_together(cards: Sequence[ModelCard], models: Sequence[FusedClassifier]) -> tuple[ModelCard, FusedClassifier]:
    """The card of the blend, not yet calibrated, and its network."""
    from tasks.modeling.fusion.blended import blended_weights
    from tasks.modeling.package import build_model

    blend = tuple(
        BlendMember(
            encoders={name: card.encoders[name] for name in card.modalities},
            fusion=card.config.fusion,
            temperature=card.temperature,
            weight=1 / len(cards),
        )
        for card in cards
    )
    card = cards[0].model_copy(update={"blend": blend, "decision": None, "uncertainty": None})
    network = build_model(card)
    network.load_state_dict(blended_weights(models))
    return card, network.eval()


def _calibrated(
    card: ModelCard, network: FusedClassifier, job: TrainJob, store: Store
) -> tuple[ModelCard, dict[str, object]]:
    """The card with what the validation rows chose, and what the history says of it."""
    from tasks.modeling.inference import load_inputs, predict_inputs
    from tasks.train.dataset import Dataset
    from tasks.train.uncertainty import batch_rows, calibrate, number_groups
    from tasks.train.validation import validation_figures

    rows = read_samples(job.valid, store).of_split("val")
    weights = rows.weights.astype(np.float32)
    inputs = load_inputs(network, rows, job.features, store)
    val = Dataset(inputs, network.targets.encode(rows), weights / weights.mean())
    answers = calibrate(card, network, val, number_groups(rows), job.config.train)
    figures = validation_figures(predict_inputs(network, val.inputs, batch_rows(network, job.config.train)), val)
    return answers.card, {"temperature": answers.scaling, "thresholds": answers.thresholds, "reached": figures}


def _key(members: Sequence[CheckpointRef]) -> str:
    """The checkpoints' keys tell the rows and the settings."""
    models = [[each.train_key, each.model_sha256] for each in members]
    return digest_json({"members": models, "code": code_fingerprint("blend")})
