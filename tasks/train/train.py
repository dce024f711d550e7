"""The train stage: a checkpoint from the store, or a new one from a process that can be killed."""

from __future__ import annotations

import shutil

from pydantic import JsonValue

from data_contracts.compression import Distillation
from data_contracts.modalities import modality_of
from data_contracts.refs import CheckpointRef, InputName
from tasks.config import RunConfig
from tasks.encoder_ids import BUILT_IN
from tasks.fingerprint import code_fingerprint
from tasks.modalities import spec_of
from tasks.modeling.pretrained.describe import Identity, identify_encoder
from tasks.store import Store, digest_json
from tasks.train.checkpoint import KIND, commit
from tasks.train.request import TrainJob, TrainRequest, cluster_val_rows, digest_samples
from tasks.train.subprocess import run_in_subprocess


def train_key(request: TrainRequest, store: Store) -> str:
    """The key of the checkpoint: all that training sees, and under train.continue_from the champion whose weights are tried.

    A champion that was itself made from these very rows, settings and code is the answer already: the key is then its own.
    """
    base, champion = base_key(request, store), request.champion
    if request.config.train.continue_from == "none" or champion is None:
        return base
    if champion.base_key == base and champion.train_key and store.find(KIND, champion.train_key) is not None:
        return champion.train_key
    auto = {"auto": True} if request.config.train.continue_from == "auto" else {}
    return digest_json({"base": base, "champion": champion.sha256, **auto})


def base_key(request: TrainRequest, store: Store) -> str:
    """The digest of all that training sees but its start: rows, features, labels, config, code; nothing of the test rows."""
    valid, features, config, distillation = request.valid, request.features, request.config, request.distillation
    settings = config.subset("seed", "fusion", "train")
    settings["train"] = config.train.model_dump(mode="json", exclude={"continue_from"})
    encoders = {name: _identity(name, config) for name in features}
    modules = sorted({module for name in features for module in spec_of(name).network_modules})
    pretrained = any(encoder.family not in BUILT_IN for encoder in encoders.values())
    return digest_json(
        {
            "rows": digest_samples(valid, features, store),
            "targets": [target.model_dump(mode="json") for target in valid.clean.label_targets],
            "features": {name: ref.fingerprint for name, ref in features.items()},
            "encoders": {name: encoder.model_dump(mode="json") for name, encoder in encoders.items()},
            "config": settings,
            **({"column_types": valid.clean.column_types} if valid.clean.column_types else {}),
            **({"shared": list(config.encoders.shared)} if config.encoders.shared else {}),
            **({} if distillation is None else {"distillation": _what_is_taught(distillation)}),
            **_flips(request, store),
            "code": code_fingerprint("train", *(["pretrained"] if pretrained else []), modules=tuple(modules)),
        }
    )


def _flips(request: TrainRequest, store: Store) -> dict[str, JsonValue]:
    """What a choice of test_time_flip depends on: which mirrored validation rows there are to try it on, and which of them
    belong together."""
    features = request.features
    if request.config.encoders.test_time_flip != "auto" or not any(spec_of(name).has_pixels for name in features):
        return {}
    tried: JsonValue = {
        name: ref.test_time.fingerprint for name, ref in sorted(features.items()) if ref.test_time is not None
    }
    clusters = cluster_val_rows(request.valid, store)
    return {"test_time_flip": tried, "clusters": None if clusters is None else clusters.tolist()}


def _what_is_taught(distillation: Distillation) -> dict[str, JsonValue]:
    """A distillation without the place of the teacher's answers."""
    return distillation.model_dump(mode="json", exclude={"teacher"}) | {"teacher": distillation.teacher.sha256}


def _identity(modality: InputName, config: RunConfig) -> Identity:
    """What an encoder is, without the place where its files lie."""
    return identify_encoder(modality_of(modality), config.encoders.of(modality), config.train.regime, config.encoders)


def train(request: TrainRequest, store: Store, isolate: bool = True) -> CheckpointRef:
    """The checkpoint for these rows, features and settings; a run that was killed resumes from its last epoch.

    With `isolate` the loop runs in its own process, killed after `runtime.train_timeout_s`; without, in this one, for a
    debugger. Both give the same weights. Raises DataError where training cannot succeed, EnvironmentFailed where the process
    died or ran out of time.
    """
    key = train_key(request, store)
    if (found := store.find(KIND, key)) is not None:
        return CheckpointRef.model_validate(found.ref)
    job = TrainJob.model_validate(dict(request) | {"store": str(store.root)})
    with store.work_dir("train", key) as work:
        if (found := store.find(KIND, key)) is not None:  # finished by another run while this one waited
            return CheckpointRef.model_validate(found.ref)
        if store.is_refreshed(KIND):  # from its first epoch, not from the state that a killed run left
            shutil.rmtree(work)
            work.mkdir()
        if isolate:
            run_in_subprocess(job, work)
        else:
            from tasks.train.stage import run_training

            run_training(job, work)
        start = [job.champion] if job.champion is not None and job.config.train.continue_from != "none" else []
        learned_from = [*start, *([job.distillation.teacher] if job.distillation else [])]
        ref = commit(job, key, base_key(job, store), learned_from, work, store)
        shutil.rmtree(work, ignore_errors=True)
    return ref


def forget_training(request: TrainRequest, store: Store) -> None:
    """The state of a training from nothing that was ended early, and that nobody will resume, takes no room any more."""
    with store.work_dir("train", train_key(request, store)) as work:
        shutil.rmtree(work, ignore_errors=True)
