"""A trained model evaluated on the validation rows, for a search over settings: test rows take no part in it."""

from __future__ import annotations

from data_contracts.refs import CheckpointRef, FeatureRef, InputName, ValidatedRef
from data_contracts.tuning import TRIAL, TrialRef
from tasks.config import RunConfig
from tasks.errors import DataError
from tasks.evaluate.scorers import make_scorer
from tasks.fingerprint import code_fingerprint
from tasks.modeling.card import read_card
from tasks.samples import Samples
from tasks.store import Store, canonical_json, digest_json, write_text

KIND = "trials"


def score_key(valid: ValidatedRef, checkpoint: CheckpointRef, costs: bool) -> str:
    """The digest of the model, of the rows, and of what is measured of it."""
    model = [checkpoint.train_key, checkpoint.model_sha256]
    return digest_json({"model": model, "rows": valid.sha256, "costs": costs, "code": code_fingerprint("evaluate")})


def score_on_validation(
    valid: ValidatedRef,
    features: dict[InputName, FeatureRef],
    checkpoint: CheckpointRef,
    config: RunConfig,
    store: Store,
    costs: bool = False,
) -> TrialRef:
    """Every metric of the first label column on the validation rows; with `costs` what an answer costs, measured once."""
    key = score_key(valid, checkpoint, costs)
    if (found := store.find(KIND, key)) is not None:
        return TrialRef.model_validate(found.ref)
    from tasks.evaluate.inference_cost import measure_inference  # which needs torch
    from tasks.modeling.inference import predict_probabilities
    from tasks.modeling.package import load_model

    folder = store.path(checkpoint.uri)
    card = read_card(folder)
    samples = Samples.read(store.path(valid.uri)).of_split("val")
    if not len(samples):
        raise DataError("split 'val': 0 rows; settings cannot be compared without validation rows")
    outputs = predict_probabilities(load_model(folder, card), samples, features, store)
    scorer, _ = make_scorer(card, 0, outputs, samples.targets(0, ""), card.label_targets[0].labels)
    inference = measure_inference(checkpoint, valid, features, config, store, "val") if costs else None
    with store.create(KIND, key, [valid.uri, checkpoint.uri], code_fingerprint("evaluate")) as draft:
        metrics = scorer.score()
        cost = None if inference is None else inference.model_dump(mode="json")
        content = {"metrics": metrics, "inference": cost}
        write_text(draft.path / TRIAL, canonical_json(content))
        ref = TrialRef(
            uri=f"{KIND}/{key}",
            sha256=digest_json([checkpoint.sha256, content]),
            rows=len(samples),
            parents=(valid.sha256, checkpoint.sha256),
            checkpoint=checkpoint,
            metrics=metrics,
            inference=inference,
        )
        draft.ref = ref.model_dump(mode="json")
    return ref
