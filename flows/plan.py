"""What a retrain would compute and what it would reuse: what `crossmodal plan` prints. Loads neither torch nor Prefect."""

from __future__ import annotations

from collections import defaultdict
from typing import Literal, TypedDict

from data_contracts.modalities import modality_of
from data_contracts.refs import CleanRef, FeatureRef, InputName, Modality, RawRef, ValidatedRef
from flows.champion import champion_to_continue
from flows.request import Request
from tasks.contract import read_table
from tasks.extract.extract import plan_shards, preview_features
from tasks.ingest.ingest import ingest_key
from tasks.ingest.manifest.scan import scan
from tasks.ingest.sources.resolve import locate_data
from tasks.media.media_store import media_fingerprint, media_index
from tasks.store import Store
from tasks.train.train import train_key
from tasks.validate.validate import samples_key


class PlanLine(TypedDict):
    """What a retrain would do in one stage."""

    stage: str
    action: Literal["reuse", "compute", "ok", "warn", "fail"]
    """Of a check before the stages, its outcome."""
    count: int | None
    """Samples, files, epochs or models; None where it is not known yet."""
    why: str


UNKNOWN = "known once the stages before it have run"


def plan_retrain(request: Request) -> list[PlanLine]:
    """One line per stage: `reuse` or `compute`, how many samples, files, epochs or models of it, and why."""
    config, store = request.config, request.store
    raw = scan(config, store, locate_data(config, store))
    found = store.find("clean", ingest_key(raw, config))
    if found is None:
        return [
            *_media_to_decode(raw, request),
            *(_line(stage, "compute", None, UNKNOWN) for stage in ("validate", "extract", "train")),
        ]
    clean = CleanRef.model_validate(found.ref)
    lines = [_line("ingest", "reuse", clean.rows, f"{clean.rows} samples, unchanged")]
    found = store.find("validations", samples_key(clean, config))
    if found is None:
        return [*lines, *(_line(stage, "compute", None, UNKNOWN) for stage in ("validate", "extract", "train"))]
    valid = ValidatedRef.model_validate(found.ref)
    lines.append(_line("validate", "reuse", valid.rows, "the contract was met by these samples"))
    features = preview_features(valid, config, store, plan_shards(valid, config, store))
    lines += [_features(name, ref) for name, ref in features.items()]
    return [*lines, _training(valid, features, request)]


def describe_plan(lines: list[PlanLine]) -> str:
    """The plan as one sentence: what would be computed."""
    work = [f"{line['stage']} ({line['why']})" for line in lines if line["action"] == "compute"]
    return f"plan: would compute {', '.join(work)}" if work else "plan: nothing to compute, all of it is in the store"


def _media_to_decode(raw: RawRef, request: Request) -> list[PlanLine]:
    table = read_table(request.store.path(raw.uri) / "rows.parquet")
    sources: dict[Modality, set[str]] = defaultdict(set)
    for input_name in raw.modalities:
        sources[modality_of(input_name)].update(table[f"{input_name}_sha256"].drop_null().to_pylist())
    return [_decoding(modality, digests, request) for modality, digests in sources.items()]


def _decoding(input_name: Modality, digests: set[str], request: Request) -> PlanLine:
    index = media_index(request.store, input_name, media_fingerprint(input_name, request.config.media), ("source",))
    count = len(digests - set(index["source"].to_pylist()))
    why = f"{count} of {len(digests)} files are new"
    return _line(f"decode {input_name}", "compute" if count else "reuse", count or len(digests), why)


def _features(input_name: InputName, ref: FeatureRef) -> PlanLine:
    why = f"{ref.computed} samples to compute, {ref.reused} in the store"
    return _line(f"extract {input_name}", "compute" if ref.computed else "reuse", ref.computed or ref.reused, why)


def _training(valid: ValidatedRef, features: dict[InputName, FeatureRef], request: Request) -> PlanLine:
    store: Store = request.store
    key = train_key(valid, features, request.config, store, champion_to_continue(request))
    if store.find("checkpoints", key) is not None:
        return _line("train", "reuse", 1, "this model is in the store")
    resumed = (store.root / "work" / f"train-{key}").is_dir()
    return _line(
        "train",
        "compute",
        request.config.train.epochs,
        "resumes from its last epoch" if resumed else "at most so many epochs",
    )


def _line(stage: str, action: Literal["reuse", "compute"], count: int | None, why: str) -> PlanLine:
    return {"stage": stage, "action": action, "count": count, "why": why}
