"""`crossmodal compress` on small models, in this process and in one of its own."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from data_contracts.compression import CompressReport
from data_contracts.run_summary import RunSummary
from flows.compress_request import Asked, make_compression
from flows.compressing import compress_model
from flows.environment import new_run_id
from flows.execute import execute
from flows.request import Request, make_request, resolve_config
from flows.stages import Stages
from tasks.config import RunConfig
from tests.support.data import SMALL

LENIENT = ["gate.margin=0.6", "gate.anchor=off", "gate.slice_alpha=0", "gate.min_rows=10"]
"""Twenty test rows rule out no loss that a user would ask about."""
FROZEN = ["encoders.audio=off", "encoders.image_px=64", "encoders.layers=auto"]


def train(data: Path, store: Path, *settings: str) -> None:
    """A champion called tones is in the store."""
    config = resolve_config(None, str(data), [*SMALL, *LENIENT, "name=tones", *settings])
    summary = execute(make_request(config, str(store), None, new_run_id()), Stages())
    assert summary.verdict == "promote"


def place_of(store: Path) -> Request:
    return make_request(RunConfig(), str(store), None, new_run_id())


def compress(
    store: Path, *methods: str, publish: str | None = None, model: str = "tones"
) -> tuple[RunSummary, CompressReport]:
    asked = make_compression(Asked(model, methods, publish), place_of(store))
    summary = compress_model(asked)
    report = CompressReport.model_validate_json((asked.request.folder / "compress.json").read_bytes())
    return summary, report


def command(store: Path, methods: str) -> list[str]:
    return [sys.executable, "-m", "flows", "compress", "tones", "--methods", methods, "--store", str(store), "--json"]


def models_in(store: Path) -> dict[str, str]:
    """Method to the digest of its weights, of the only study in the store."""
    (study,) = {path.read_text() for path in (store / "compressions").glob("*/compress.json")}
    return {each["method"]: each["model_sha256"] for each in json.loads(study)["results"]}
