"""What the benchmarks of training share: data prepared once, then a model trained and evaluated for every setting."""

from __future__ import annotations

import json
import resource
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_contracts.refs import EvalReport
from flows.data_stages import extract_to_evaluate, prepare
from flows.encoder_choice import train_chosen
from flows.request import make_request, resolve_config
from flows.run_state import RunState
from flows.stages import Stages
from tasks.evaluate.evaluate import evaluate
from tasks.store import digest_json
from tasks.train.train import train


@dataclass(frozen=True)
class TrainingRun:
    """One trained model: how good it is on the test rows, and what it cost."""

    report: EvalReport
    history: dict[str, Any]
    chosen: str
    """The encoders that the validation rows chose; empty where they were named."""
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
    """A model trained on a manifest under `KEY=VALUE` settings; with encoders left open, the better one of several.

    What an earlier call left in `store` is not done again; its times are those that were taken when it was.
    """
    config = resolve_config(None, data, overrides)
    request = make_request(config, str(store), None, "benchmark")
    valid = prepare(request, config, Stages(), RunState())
    before, run_state = cpu_s(), RunState()
    trained = train_chosen(None, valid, request, Stages(train=train), run_state)
    config, checkpoint, features = trained.request.config, trained.checkpoint, trained.features
    seconds = run_state.seconds
    taken = {"extract_s": seconds["extract"], "train_s": seconds["train"], "cpu_s": cpu_s() - before}
    choice = run_state.encoder_choice
    taken = _kept(
        taken, [checkpoint.uri] if choice is None else [one.uri for one in choice.compared if one.epochs], store
    )
    features = extract_to_evaluate(checkpoint, valid, features, config, request.store, Stages(), RunState())
    report = evaluate(valid, features, checkpoint, None, config, request.store)
    history = json.loads(request.store.path(f"{checkpoint.uri}/history.json").read_text(encoding="utf-8"))
    chosen = [one.encoders for one in choice.compared if one.chosen] if choice else []
    return TrainingRun(report, history, ", ".join(chosen[0].values()) if chosen else "", **taken)


def _kept(taken: dict[str, float], trainings: list[str], store: Path) -> dict[str, float]:
    """What these trainings took together when they were done, each by itself or all in one run; now, where they are new."""
    keys = [uri.rpartition("/")[2] for uri in trainings]
    parts = [store / f"times-{key}.json" for key in keys]
    all_of_them = parts[0] if len(parts) == 1 else store / f"times-{digest_json(keys)}.json"
    if not all_of_them.exists() and all(part.exists() for part in parts):
        known = [json.loads(part.read_text(encoding="utf-8")) for part in parts]
        taken = {name: sum(one[name] for one in known) for name in taken}
    if all_of_them.exists():
        taken = json.loads(all_of_them.read_text(encoding="utf-8"))
    all_of_them.write_text(json.dumps(taken), encoding="utf-8")
    return taken


def cpu_s() -> float:
    """Of this process and of those that it has waited for."""
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in spent)
