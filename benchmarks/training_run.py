"""What the benchmarks of training share: data prepared once, then a model trained and evaluated for every setting."""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_contracts.refs import EvalReport
from flows.data_stages import extract_to_evaluate, extract_to_train, prepare
from flows.request import make_request, resolve_config
from flows.run_state import RunState
from flows.stages import Stages
from tasks.evaluate.evaluate import evaluate
from tasks.train.request import TrainRequest
from tasks.train.train import train


@dataclass(frozen=True)
class TrainingRun:
    """One trained model: how good it is on the test rows, and what it cost."""

    report: EvalReport
    history: dict[str, Any]
    extract_s: float
    """Wall seconds in which what it reads was computed."""
    train_s: float
    """Wall seconds of training, with the start of its process (6 to 10 s) and validation."""
    cpu_s: float
    """CPU seconds of extraction and training, all processes."""

    @property
    def accuracy(self) -> float:
        """On all test rows, with all that they have."""
        return self.report.metrics["test"]["accuracy"] or 0.0

    def accuracy_of(self, modalities: str) -> float:
        """On the test rows that have these modalities, with those only."""
        return self.report.by_modalities[modalities]["accuracy"] or 0.0


def train_and_evaluate(data: str, overrides: Sequence[str], store: Path) -> TrainingRun:
    """A model trained on a manifest under `KEY=VALUE` settings.

    What an earlier call left in `store` is not done again; its times are those that were taken when it was.
    """
    config = resolve_config(None, data, overrides)
    request = make_request(config, str(store), None, "benchmark")
    valid = prepare(request, config, Stages(), RunState())
    before, start = cpu_s(), time.perf_counter()
    features = extract_to_train(valid, config, request.store, Stages(), RunState())
    extracted = time.perf_counter()
    checkpoint = train(TrainRequest(valid=valid, features=features, config=config), request.store)
    taken = {"extract_s": extracted - start, "train_s": time.perf_counter() - extracted, "cpu_s": cpu_s() - before}
    times = store / f"times-{checkpoint.train_key}.json"
    if times.exists():
        taken = json.loads(times.read_text(encoding="utf-8"))
    times.write_text(json.dumps(taken), encoding="utf-8")
    features = extract_to_evaluate(checkpoint, valid, features, config, request.store, Stages(), RunState())
    report = evaluate(valid, features, checkpoint, None, config, request.store)
    history = json.loads(request.store.path(f"{checkpoint.uri}/history.json").read_text(encoding="utf-8"))
    return TrainingRun(report, history, **taken)


def cpu_s() -> float:
    """Of this process and of those that it has waited for."""
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in spent)
