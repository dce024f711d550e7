"""The few names that a user imports.

import crossmodal
model = crossmodal.load("digits@champion")
model.predict([{"image": "photo.jpg", "text": "a sentence"}])[0].label
frame = model.predict("manifest.csv")     # row, id, predicted, probability, ...
crossmodal.check("manifest.csv")["rows"]
crossmodal.retrain(data="manifest.csv", settings={"train.epochs": 5}).verdict
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, overload

from flows.environment import new_run_id, store_from_environment, tracking_uri_from_environment
from flows.request import Request, make_request, resolve_config
from flows.serving.prediction import Prediction, Refusal, RowsRefused
from tasks.config import RunConfig
from tasks.errors import CrossmodalError, DataError, EnvironmentFailed, PromotionRefused, UsageError
from tasks.packages import missing_packages_named

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.pyfunc.model import PythonModel

    from data_contracts.refs import ChampionRef
    from flows.serving.predictor import Predictor
    from tasks.modeling.card import ModelCard

__all__ = [
    "CrossmodalError",
    "DataError",
    "EnvironmentFailed",
    "Model",
    "Prediction",
    "PromotionRefused",
    "Refusal",
    "Retrained",
    "RowsRefused",
    "RunConfig",
    "UsageError",
    "check",
    "load",
    "retrain",
    "served_model",
]


@dataclass(frozen=True)
class Model:
    """A published model, or one in a folder. Threads may share it."""

    name: str
    version: str
    """In the registry; of a model in a folder the first 12 digits of its weights' sha256."""
    labels: tuple[str, ...]
    """In the order of the `probabilities` column."""
    signature: str
    """unsigned, or with which key it is signed, and whether that was verified."""
    _champion: ChampionRef
    _card: ModelCard
    _store: str

    @overload
    def predict(self, data: Sequence[Mapping[str, Any]], *, explain: bool = False) -> list[Prediction]:
        """Of rows in memory."""

    @overload
    def predict(
        self,
        data: str | Path | pd.DataFrame,
        columns: Sequence[str] | Literal["all"] = (),
        out: str | Path | None = None,
    ) -> pd.DataFrame:
        """Of a data frame, or of the data at a path."""

    @missing_packages_named()
    def predict(
        self,
        data: str | Path | pd.DataFrame | Sequence[Mapping[str, Any]],
        columns: Sequence[str] | Literal["all"] = (),
        out: str | Path | None = None,
        *,
        explain: bool = False,
    ) -> pd.DataFrame | list[Prediction]:
        """The answers to a list of rows, a data frame, or the data at a path.

        A row is a mapping of inputs to values: an image is a path, bytes, a PIL image or an array (H, W), (H, W, 3) or (H, W,
        4) of uint8; a sound is a path, bytes or (array, rate in Hz), the array int16 or floats in [-1, 1]; a clip is a path or
        bytes; a text is itself. Cells of a table stand under their columns' names. An input may be missing. The answers are
        Predictions, in the rows' order. Raises RowsRefused, which names rows and inputs, where one cannot be used. With
        `explain` each has an `explanation`: what each input added to the probability of the answer, and more (docs/explain.md);
        that takes up to seconds a row, and captum.

        A data frame's columns are such inputs, or `<input>_path` with paths; others are passed over. Its answers are a data
        frame with its index: predicted, targets, probability, probabilities, modalities, reason and detail.

        Of a manifest, a folder or one file: one row per row or file, in its order: row, id, label, predicted, targets,
        probability, probabilities, modalities, reason and detail; then `columns` of the data. `out` is a file to write as
        well: .parquet, .csv or .jsonl. Raises UsageError for a path or a column that does not exist, DataError for data that
        cannot be read.

        A row of a data frame or of a path that cannot be read has a reason and no answer.
        """
        if explain and not isinstance(data, list | tuple):
            raise UsageError(
                "predict: explain is for a list of rows; of data at a path see crossmodal predict --explain"
            )
        if isinstance(data, str | Path):
            return self._predict_path(data, columns, out)
        if columns or out is not None:
            raise UsageError(
                "predict: columns and out are for data at a path; a list or a data frame has its columns already"
            )
        if hasattr(data, "columns") and hasattr(data, "to_dict"):
            return self._predict_frame(cast("pd.DataFrame", data))
        if not isinstance(data, Sequence) or not all(isinstance(row, Mapping) for row in data):
            raise UsageError(
                f"predict: cannot read a value of type {type(data).__name__}; give a list of rows, each a mapping of inputs to "
                'values, [{"text": …}, …], a data frame, or the path of data'
            )
        return self._predictor.predict(cast("Sequence[Mapping[str, Any]]", data), explain)

    @cached_property
    def _predictor(self) -> Predictor:
        from flows.serving.predictor import Predictor

        return Predictor(self._champion, self._card, _request("builtin:digits", (), self._store))

    def _predict_frame(self, frame: pd.DataFrame) -> pd.DataFrame:
        import pandas as pd

        from flows.serving.row_media import frame_rows, with_paths_read
        from tasks.modalities import joined

        found: list[dict[str, Any]] = []
        names = self._predictor.columns
        rows = frame_rows(with_paths_read(frame, names), names)
        for outcome in self._predictor.outcomes(rows):
            if isinstance(outcome, Refusal):
                found.append({"reason": outcome.reason, "detail": str(outcome)})
                continue
            answer = outcome.model_dump(include={"targets", "probability", "probabilities"})
            found.append({"predicted": outcome.label, **answer, "modalities": joined(outcome.modalities)})
        names = ["predicted", "targets", "probability", "probabilities", "modalities", "reason", "detail"]
        return pd.DataFrame(found, index=frame.index, columns=names)

    def _predict_path(
        self, data: str | Path, columns: Sequence[str] | Literal["all"], out: str | Path | None
    ) -> pd.DataFrame:
        import pyarrow as pa

        from flows.predictions import check_target, predict_rows
        from flows.run_state import RunState
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


@missing_packages_named()
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
    from flows.console import notices_shown, progress_bars
    from flows.execute import execute
    from flows.run_failed import RunFailed
    from flows.stages import Stages
    from tasks.train.train import train

    overrides = [f"{key}={json.dumps(value)}" for key, value in (settings or {}).items()]
    config = resolve_config(_text(profile), _text(data), overrides)
    request = make_request(config, store_from_environment(_text(store)), tracking_uri_from_environment(), new_run_id())
    try:
        with notices_shown(), progress_bars() if progress else contextlib.nullcontext():
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


@missing_packages_named()
def load(model: str | Path, store: str | Path | None = None, verify_key: str | Path | None = None) -> Model:
    """The model that `NAME` or `NAME@ALIAS` names in the store's registry, the one in a folder, or a release on the hub.

    A folder is a Path, or a text with a `/` in it: a release, or any with model.json and model.safetensors. A release on
    Hugging Face's hub is `hf:ID` or `hf:ID@REVISION`. `verify_key` is the file of the public key that it must be signed with;
    without it CROSSMODAL_VERIFY_KEY, where that is set.

    The bytes that are loaded have the sha256 that was published. Raises UsageError when there is none, EnvironmentFailed or
    DataError where a file is damaged, it was never verified, or its signature is missing or wrong.
    """
    from flows.serving.loading import find_published
    from tasks.modeling.card import read_card
    from tasks.modeling.signing import describe_signature

    key = () if verify_key is None else (f"publish.verify_key={json.dumps(str(verify_key))}",)
    request = _request("builtin:digits", key, store, reading=True)
    champion = find_published(model, request)
    card = read_card(request.store.path(champion.uri), champion.card_sha256)
    signature = describe_signature(champion.signed_by, request.verify_key is not None)
    return Model(champion.name, champion.version, card.labels, signature, champion, card, str(request.store.root))


def served_model() -> PythonModel:
    """What `mlflow.pyfunc.load_model` and `mlflow models serve` run of a published model; MLflow must be installed."""
    from flows.serving.mlflow_model import MediaModel

    return MediaModel()


@missing_packages_named()
def check(manifest: str | Path, overrides: tuple[str, ...] = (), store: str | Path | None = None) -> dict[str, Any]:
    """The summary of reading, cleaning and validating a manifest. Raises CrossmodalError where it breaks its contract."""
    from flows.prepare import check_manifest
    from flows.run_failed import RunFailed

    try:
        return check_manifest(_request(manifest, overrides, store))[0].as_json()
    except RunFailed as failure:
        raise failure.error from None


def _request(
    manifest: str | Path, overrides: tuple[str, ...], store: str | Path | None, reading: bool = False
) -> Request:
    config = resolve_config(None, str(manifest), overrides)
    place = store_from_environment(None if store is None else str(store))
    return make_request(config, place, tracking_uri_from_environment(), new_run_id(), reading=reading)
