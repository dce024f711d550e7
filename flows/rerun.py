"""One stage again, in this process, with the refs of an earlier run: what `crossmodal run-stage` does."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeVar

from data_contracts.refs import Ref
from data_contracts.run_refs import RunRefs
from flows.data_stages import extract_to_evaluate, extract_to_train, with_earlier
from flows.encoder_choice import train_blend
from flows.history import RUNS, run_refs
from flows.journaling import record_decisions
from flows.records import REFS
from flows.refresh import STAGE_KINDS, all_stages, require_stages, settle_parts
from flows.request import Request
from flows.run_state import RunState
from flows.signing import load_sign_key
from flows.stages import Features, Stages
from tasks.encoder_choice import is_blend
from tasks.errors import UsageError
from tasks.ingest.sources.resolve import locate_data
from tasks.publish.publish import PublishInputs
from tasks.store import canonical_json, replace_file
from tasks.train.request import TrainRequest

Results = Mapping[str, Ref | Features]
"""Name, as in RunRefs, to what a stage handed back."""
T = TypeVar("T")
NEEDS: dict[str, tuple[str, ...]] = {
    "ingest": (),
    "validate": ("raw", "clean"),
    "extract": ("valid",),
    "train": ("valid", "features"),
    "evaluate": ("valid", "features", "checkpoint"),
    "gate": ("report",),
    "publish": ("verdict", "checkpoint", "report", "valid", "features"),
}
"""Stage to the refs without which it cannot be run."""
STAGE_OF = {
    "raw": "ingest", "clean": "ingest", "valid": "validate", "features": "extract", "checkpoint": "train",
    "report": "evaluate", "verdict": "gate", "release": "publish",
}  # fmt: skip


class Rerun(NamedTuple):
    """What a stage handed back."""

    name: str
    """raw, clean, valid, features.image, checkpoint, report, verdict or release."""
    ref: Ref
    equals: bool | None
    """Whether it is what the run had; None where the run did not come to it."""


def run_stage(request: Request, run: str, stage: str) -> list[Rerun]:
    """The stage is computed again, also where the store has its result; what the run did not have is added to its refs.

    Raises UsageError for an unknown stage or one that the run did not come to, and what the stage raises.
    """
    require_stages([stage], all_stages())
    refs = run_refs(request.store, run)
    for name in NEEDS[stage]:
        if not getattr(refs, name):
            raise UsageError(
                f"run {run}: did not come to {stage}, it has no {name}; run crossmodal run-stage {STAGE_OF[name]} --run {run}"
            )
    request.store.refresh(*STAGE_KINDS.get(stage, ()))
    found = STAGES[stage](request, refs, Stages())
    results = [
        result for name, value in found.items() for result in _compare(name, value, getattr(refs, name), request)
    ]
    missing = {name: value for name, value in found.items() if not getattr(refs, name)}
    if missing:
        path = request.store.root / RUNS / run / REFS
        replace_file(path, canonical_json(refs.model_copy(update=missing).model_dump(mode="json")).encode())
    return results


def _compare(name: str, value: Ref | Features, before: Ref | Features | None, request: Request) -> list[Rerun]:
    if isinstance(value, dict):
        before = before if isinstance(before, dict) else {}
        same = settle_parts(request.store, "features")
        return [
            Rerun(f"features.{kind}", ref, None if kind not in before else same and _equal(ref, before[kind]))
            for kind, ref in value.items()
        ]
    return [Rerun(name, value, _equal(value, before) if isinstance(before, Ref) else None)]


def _equal(ref: Ref, before: Ref) -> bool:
    return _content(ref) == _content(before)


def _content(ref: Ref) -> str:
    """Of a model the digest of its weights, of all else that of the ref."""
    found: str = getattr(ref, "model_sha256", ref.sha256)
    return found


def _had(ref: T | None) -> T:
    """A ref that the run has: `run_stage` has looked."""
    assert ref is not None
    return ref


def _ingest(request: Request, refs: RunRefs, stages: Stages) -> Results:
    raw = with_earlier(stages.scan(request.config, request.store, locate_data(request.config, request.store)), request)
    clean = stages.ingest(raw, request.config, request.store)
    settle_parts(request.store, "media")
    return {"raw": raw, "clean": clean}


def _validate(request: Request, refs: RunRefs, stages: Stages) -> Results:
    config, store = request.config, request.store
    stages.validate_manifest(_had(refs.raw), store)
    valid = stages.validate_samples(_had(refs.clean), config, store)
    if refs.features:
        stages.validate_features(valid, refs.features, config, store)
    if refs.report is not None:
        stages.validate_predictions(refs.report, _had(refs.checkpoint), store)
    return {"valid": valid}


def _extract(request: Request, refs: RunRefs, stages: Stages) -> Results:
    valid, config, store, aside = _had(refs.valid), request.config, request.store, RunState()
    features = extract_to_train(valid, config, store, stages, aside)
    if refs.checkpoint is not None:
        features = extract_to_evaluate(refs.checkpoint, valid, features, config, store, stages, aside)
    return {"features": features}


def _train(request: Request, refs: RunRefs, stages: Stages) -> Results:
    if refs.encoder_choice is not None and is_blend(refs.encoder_choice.encoders):
        return {"checkpoint": train_blend(refs.start, _had(refs.valid), refs.encoder_choice, request, stages)}
    asked = TrainRequest(valid=_had(refs.valid), features=refs.features, config=request.config, champion=refs.start)
    return {"checkpoint": stages.train(asked, request.store)}


def _evaluate(request: Request, refs: RunRefs, stages: Stages) -> Results:
    report = stages.evaluate(
        _had(refs.valid), refs.features, _had(refs.checkpoint), refs.prepared_champion, request.config, request.store
    )
    return {"report": report}


def _gate(request: Request, refs: RunRefs, stages: Stages) -> Results:
    return {"verdict": stages.gate(_had(refs.report), request.config, request.store)}


def _publish(request: Request, refs: RunRefs, stages: Stages) -> Results:
    valid, verdict, report = _had(refs.valid), _had(refs.verdict), _had(refs.report)
    inputs = PublishInputs(
        verdict, _had(refs.checkpoint), report, valid, refs.features, refs.start, load_sign_key(request)
    )
    release = stages.publish(inputs, request.config, request.store, request.tracking_uri, request.run_id)
    record_decisions(request.name, request.config.publish.alias, request.store, request.tracking_uri)
    return {"release": release}


STAGES: Mapping[str, Callable[[Request, RunRefs, Stages], Results]] = {
    "ingest": _ingest,
    "validate": _validate,
    "extract": _extract,
    "train": _train,
    "evaluate": _evaluate,
    "gate": _gate,
    "publish": _publish,
}


def as_json(results: list[Rerun]) -> Mapping[str, object]:
    """For scripts."""
    return {name: {"ref": json.loads(ref.model_dump_json()), "equals": equals} for name, ref, equals in results}
