"""The validation loss of a trained model with one modality only: by it encoders of several modalities are mixed."""

from __future__ import annotations

from data_contracts.modalities import modality_of
from data_contracts.refs import CheckpointRef, FeatureRef, InputName, Modality, ValidatedRef
from tasks.config import RunConfig
from tasks.fingerprint import code_fingerprint
from tasks.store import Store, canonical_json, digest_json, write_text
from tasks.train.request import TrainJob, read_samples

KIND = "modality_losses"
LOSS = "loss.json"


def stored_loss(modality: Modality, checkpoint: CheckpointRef, store: Store) -> float | None:
    """As it was taken before; None where it was not."""
    found = store.find(KIND, _key(modality, checkpoint))
    return None if found is None else float(found.ref["val_loss"])


def take_loss(
    modality: Modality,
    checkpoint: CheckpointRef,
    valid: ValidatedRef,
    features: dict[InputName, FeatureRef],
    config: RunConfig,
    store: Store,
) -> float:
    """The training's own loss, without weights of classes, of all validation rows; those without the modality are answered by
    what the model does then. DataError where there are no validation rows."""
    known = stored_loss(modality, checkpoint, store)
    if known is not None:
        return known
    from tasks.modeling.package import load_model  # which needs torch, as the next
    from tasks.train.dataset import load_dataset
    from tasks.train.processes import Processes
    from tasks.train.validation import validate

    own = {name: ref for name, ref in features.items() if modality_of(name) == modality}
    alone = config.train.model_copy(update={"devices": 1, "device": "cpu"})
    job = TrainJob(valid=valid, features=own, config=config, store=str(store.root))
    model = load_model(store.path(checkpoint.uri))
    val = load_dataset(read_samples(valid, store), "val", job, model.targets, store)
    loss, _ = validate(model, val, alone, Processes(alone))
    key = _key(modality, checkpoint)
    with store.create(KIND, key, [checkpoint.uri], code_fingerprint("modality_loss")) as draft:
        found = {"modality": modality, "val_loss": loss}
        write_text(draft.path / LOSS, canonical_json(found))
        draft.ref = {"uri": f"{KIND}/{key}", **found}
    return loss


def _key(modality: Modality, checkpoint: CheckpointRef) -> str:
    """The checkpoint's key tells the rows and the settings."""
    model = [checkpoint.train_key, checkpoint.model_sha256]
    return digest_json({"model": model, "modality": modality, "code": code_fingerprint("modality_loss")})
