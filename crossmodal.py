"""The few names that a user imports.

import crossmodal
model = crossmodal.load("digits@champion")
frame = model.predict("manifest.csv")     # row, id, predicted, probability, ...
crossmodal.check("manifest.csv")["rows"]
crossmodal.retrain(data="manifest.csv", settings={"train.epochs": 5}).verdict
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from flows.environment import new_run_id, store_from_environment, tracking_uri_from_environment
from flows.request import Request, make_request, resolve_config
from tasks.config import RunConfig
from tasks.errors import CrossmodalError, DataError, EnvironmentFailed, PromotionRefused, UsageError

if TYPE_CHECKING:
    import pandas as pd

    from data_contracts.refs import ChampionRef
    from tasks.modeling.card import ModelCard

__all__ = [
    "CrossmodalError",
    "DataError",
    "EnvironmentFailed",
    "Model",
    "PromotionRefused",
    "Retrained",
    "RunConfig",
    "UsageError",
    "check",
    "load",
    "retrain",
]


@dataclass(frozen=True)
class Model:
    """A published model."""

    name: str
    version: str
    labels: tuple[str, ...]
    """In the order of the `probabilities` column."""
    _champion: ChampionRef
    _card: ModelCard
    _store: str

    def predict(
        self, data: str | Path, columns: Sequence[str] | Literal["all"] = (), out: str | Path | None = None
    ) -> pd.DataFrame:
        """One row per row of a manifest, in its order, or per file of a folder, or that of one file: row, id, label,
        predicted, targets, probability, probabilities, modalities, reason and detail; then `columns` of the data.

        A row that cannot be read has a reason and no answer. `out` is a file to write as well: .parquet, .csv or .jsonl.
        Raises UsageError for a path or a column that does not exist, DataError for data that cannot be read.
        """
        import pyarrow as pa

        from flows.run_state import RunState
        from flows.score import check_target, predict_rows
        from tasks.ingest.manifest.carried_columns import CarriedColumns
        from tasks.modeling.prediction_files import write_tables

        target = None if out is None else check_target(str(out), str(data))
        asked = (columns,) if isinstance(columns, str) else tuple(columns)
        request = _request(data, (), self._store)
        with CarriedColumns(asked, request.store.root) as carried:
            rows = predict_rows(request, self._champion, self._card, RunState(), carried)
            if target is not None:
                write_tables(target, rows.tables())
            frame: pd.DataFrame = pa.concat_tables(rows.tables()).to_pandas()
        return frame


@dataclass(frozen=True)
class Retrained:
    """What a retrain came to; `summary` is all of it, as `runs/<id>/summary.json` holds it."""

    run: str
    verdict: str
    """promote, reject, inconclusive, needs-approval or unchanged."""
    reason: str
    model: str
    version: str | None
    """None where nothing was published."""
    rows: dict[str, int]
    """in, used, quarantined, duplicates."""
    splits: dict[str, int]
    metrics: dict[str, float | None]
    """On the test rows."""
    seconds: dict[str, float]
    report: Path
    summary: dict[str, Any] = field(repr=False)


def retrain(
    data: str | Path | None = None,
    profile: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
    store: str | Path | None = None,
    progress: bool = True,
) -> Retrained:
    """What `crossmodal retrain` does, without Prefect: in a notebook, too, where an event loop runs. Training has a process of
    its own, which an interrupt ends, and which leaves torch's settings here as they are.

    `settings` are dotted keys of RunConfig to values, on top of the profile. Without data and profile: the built-in digits.
    Raises UsageError, DataError, EnvironmentFailed; a refused model is a result.
    """
    from flows.console import progress_bars
    from flows.execute import RunFailed, execute
    from flows.stages import Stages
    from tasks.train.train import train

    overrides = [f"{key}={json.dumps(value)}" for key, value in (settings or {}).items()]
    config = resolve_config(_text(profile), _text(data), overrides)
    request = make_request(config, store_from_environment(_text(store)), tracking_uri_from_environment(), new_run_id())
    try:
        with progress_bars() if progress else contextlib.nullcontext():
            summary = execute(request, Stages(train=train))
    except RunFailed as failure:
        raise failure.error from None
    return Retrained(
        run=request.run_id,
        verdict=str(summary.verdict),
        reason=str(summary.reason),
        model=request.name,
        version=summary.model.version if summary.model else None,
        rows=summary.rows.counts(),
        splits=dict(summary.splits.items()),
        metrics=summary.metrics["test"],
        seconds=summary.seconds,
        report=request.store.root / str(summary.report),
        summary=summary.as_json(),
    )


def _text(value: str | Path | None) -> str | None:
    return None if value is None else str(value)


def load(model: str, store: str | Path | None = None) -> Model:
    """The model that `NAME` or `NAME@ALIAS` names in the store's registry. Raises UsageError when there is none."""
    from flows.score import find_model
    from tasks.modeling.card import read_card

    request = _request("builtin:digits", (), store)
    champion = find_model(request, model)
    card = read_card(request.store.path(champion.uri))
    return Model(champion.name, champion.version, card.labels, champion, card, str(request.store.root))


def check(manifest: str | Path, overrides: tuple[str, ...] = (), store: str | Path | None = None) -> dict[str, Any]:
    """The summary of reading, cleaning and validating a manifest. Raises CrossmodalError where it breaks its contract."""
    from flows.execute import RunFailed
    from flows.prepare import check_manifest

    try:
        return check_manifest(_request(manifest, overrides, store))[0].as_json()
    except RunFailed as failure:
        raise failure.error from None


def _request(manifest: str | Path, overrides: tuple[str, ...], store: str | Path | None) -> Request:
    config = resolve_config(None, str(manifest), overrides)
    place = store_from_environment(None if store is None else str(store))
    return make_request(config, place, tracking_uri_from_environment(), new_run_id())
