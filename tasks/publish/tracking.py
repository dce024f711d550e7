"""What MLflow's tracking shows of a run: its params, its figures and curves, its data, its pages. The only writer of runs.

Every run that was started is logged, refused and failed ones too. A run is found again by its crossmodal run id, and every
point of a curve has a time that follows from the run, so logging it twice adds nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_contracts.refs import CheckpointRef, EvalReport, ValidatedRef, Verdict
from data_contracts.training_history import Epoch
from tasks import locks
from tasks.config import RunConfig
from tasks.errors import EnvironmentFailed
from tasks.escaping import markdown_text, one_line
from tasks.problems.registry import validation_keys
from tasks.publish import versions
from tasks.publish.addresses import artifact_location, require_known_place, sqlite_file
from tasks.publish.card import history_of, write_card
from tasks.publish.chain import chain_of
from tasks.publish.connection import connected
from tasks.publish.logged_files import log_file, log_folder
from tasks.publish.unlogged import UnloggedRun, keep_unlogged, unlogged_runs
from tasks.publish.version_page import figures_table
from tasks.redaction import redact, redact_json
from tasks.store import Store

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run

_BATCH = 100  # params and tags that MLflow takes at once
_METRICS_BATCH = 1000
_PREFIX_CHARS = 100  # of the 250 that a metric's name may have
_TAG_CHARS = 5000
_DIGEST_CHARS = 36  # of a dataset
# What MLflow lists the experiment as; without it the kind is guessed. In which mode its UI opens is docs/mlflow.md.
_KIND = {"mlflow.experimentKind": "custom_model_development"}
_STARTED = re.compile(r"(\d{8}-\d{6})-")
_CURVES = {
    "train_loss": "train/loss",
    "val_loss": "val/loss",
    **{key: key.replace("val_", "val/", 1) for key in validation_keys()},
    "learning_rate": "train/learning_rate",
    "grad_norm": "train/grad_norm",
}
"""Key of an epoch in history.json to the metric whose step is the epoch."""


@dataclass(frozen=True)
class RunRecord:
    """All that is logged of a run that has ended; what it did not get to is None."""

    name: str
    """The model's."""
    run_id: str
    config: RunConfig
    decision: str | None
    reason: str
    error: str | None
    rows: Mapping[str, int]
    seconds: Mapping[str, float]
    tags: Mapping[str, str]
    folder: Path
    """With report.html, confusion.svg and docs/, as far as there are any."""
    valid: ValidatedRef | None = None
    checkpoint: CheckpointRef | None = None
    report: EvalReport | None = None
    verdict: Verdict | None = None
    epochs: Sequence[Epoch] = ()
    """Of history.json."""
    repeats: str | None = None
    """The crossmodal run that this one repeats: the settings are logged there."""
    under_prefect: bool = False
    """Whether it is a run of a Prefect flow, which people follow in a browser."""

    @property
    def status(self) -> str:
        """What the tag `verdict` says."""
        return "failed" if self.error else str(self.decision)


def record_run(record: RunRecord, store: Store, tracking_uri: str) -> None:
    """The run is in the model's experiment, finished or failed, with all that is known of it.

    An unchanged run is logged by its metrics only: its settings, curves and pages are those of the run that it repeats. Where
    MLflow is a file of this machine, and no Prefect runs it, that waits in the run's folder for a run that needs MLflow
    (tasks/publish/unlogged.py). Raises EnvironmentFailed where MLflow or the store of its artifacts cannot be written
    to.
    """
    if record.repeats is not None and sqlite_file(tracking_uri) is not None and not record.under_prefect:
        keep_unlogged(_ended(record), record.folder)
        return
    from mlflow.exceptions import MlflowException

    with store.work_dir("publish", record.name), connected(store, tracking_uri) as client:
        log_unlogged(client, store, tracking_uri)
        if record.repeats is not None:
            log_ended(client, _ended(record), store, tracking_uri)
            return
        run = open_run(client, record.name, record.run_id, store, tracking_uri)
        log_figures(client, run, record.config, record.report, run_tags(record))
        if record.status != "unchanged":
            log_batches(client, run, curve_points(record.epochs, run.info.start_time))
            if record.valid is not None and not (run.inputs and run.inputs.dataset_inputs):
                log_dataset(client, run, record.valid, record.config)
            try:
                log_pages(client, run, record, store, tracking_uri)
            except (MlflowException, EnvironmentFailed):
                raise
            except Exception as error:  # each kind of artifact store has errors of its own
                raise EnvironmentFailed(
                    f"MLflow: the pages of run {record.run_id} cannot be logged to {run.info.artifact_uri} "
                    f"({type(error).__name__}: {one_line(str(error), 300)})"
                ) from error
        end = run.info.start_time + round(1000 * record.seconds.get("total", 0.0))
        client.set_terminated(run.info.run_id, "FAILED" if record.error else "FINISHED", end)


def _ended(record: RunRecord) -> UnloggedRun:
    """A run that repeats another: settings and figures by modalities are that run's, and would fill the database."""
    report = record.report and record.report.model_copy(update={"by_modalities": {}})
    seconds = record.seconds.get("total", 0.0)
    return UnloggedRun(name=record.name, run=record.run_id, report=report, tags=run_tags(record), seconds=seconds)


def log_unlogged(client: MlflowClient, store: Store, tracking_uri: str) -> None:
    """MLflow knows every run of the store that was kept for later; logging one twice adds nothing."""
    from mlflow.exceptions import MlflowException

    for path, run in unlogged_runs(store):
        lock = path.with_suffix(".lock")
        # one that cannot be logged (to a place that is not the store's, say) keeps no other from it
        with contextlib.suppress(EnvironmentFailed, MlflowException), locks.held_if_free(lock) as is_free:
            if is_free:
                if path.exists():
                    log_ended(client, run, store, tracking_uri)
                    path.unlink()
                lock.unlink()


def log_ended(client: MlflowClient, ended: UnloggedRun, store: Store, tracking_uri: str) -> None:
    """A run that repeats another is in the model's experiment, finished, with its metrics and tags."""
    run = open_run(client, ended.name, ended.run, store, tracking_uri)
    log_figures(client, run, None, ended.report, ended.tags)
    client.set_terminated(run.info.run_id, "FINISHED", run.info.start_time + round(1000 * ended.seconds))


def open_experiment(client: MlflowClient, name: str, store: Store, tracking_uri: str) -> str:
    """The id of the model's experiment. Under a database its files go below the store, never into the current folder."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        location = artifact_location(name, store.root, tracking_uri)
        try:
            return str(client.create_experiment(name, artifact_location=location, tags=_KIND))
        except MlflowException:
            found = client.get_experiment_by_name(name)  # another run made it in between
            if found is None:
                raise
    require_known_place(found.artifact_location, store.root, tracking_uri, f"MLflow's experiment {name!r}")
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    for key, value in _KIND.items():
        if key not in found.tags:
            client.set_experiment_tag(found.experiment_id, key, value)
    return str(found.experiment_id)


def open_run(client: MlflowClient, name: str, run_id: str, store: Store, tracking_uri: str) -> Run:
    """MLflow's run of this crossmodal run: the one that it has already, or a new one that began when the run did.

    EnvironmentFailed where its artifacts would lie in a place that is not the store's.
    """
    experiment = open_experiment(client, name, store, tracking_uri)
    found = client.search_runs([experiment], f"tags.`{versions.RUN}` = '{run_id}'", max_results=1)
    tags = {versions.RUN: run_id}
    run = found[0] if found else client.create_run(experiment, started_ms(run_id), tags, run_name=run_id)
    require_known_place(run.info.artifact_uri, store.root, tracking_uri, f"MLflow's run {run.info.run_id}")
    return run


def started_ms(run_id: str) -> int | None:
    """When a run began, in ms since 1970, by its id; None for another kind of id."""
    found = _STARTED.match(run_id)
    if found is None:
        return None
    return round(1000 * datetime.strptime(found[1], "%Y%m%d-%H%M%S").replace(tzinfo=UTC).timestamp())


def run_tags(record: RunRecord) -> dict[str, str]:
    """What runs are filtered by, and the run's description."""
    tags = {**record.tags, "verdict": record.status, "mlflow.note.content": describe_run(record)}
    if record.valid is not None:
        tags["data_sha256"] = record.valid.sha256
    if record.checkpoint is not None:
        tags["model_sha256"] = record.checkpoint.model_sha256
    if record.error is not None:
        tags["error"] = record.error
    if record.repeats is not None:
        tags["repeats"] = record.repeats
    return {key: redact(value)[:_TAG_CHARS] for key, value in tags.items()}


def describe_run(record: RunRecord) -> str:
    """Markdown: the verdict, why, and the test figures."""
    parts = [f"**{record.status}**: {markdown_text(record.error or record.reason)}"]
    if record.report is not None:
        parts.append(figures_table(record.report))
    return "\n\n".join(parts)


def log_figures(
    client: MlflowClient, run: Run, config: RunConfig | None, report: EvalReport | None, tags: Mapping[str, str]
) -> None:
    """Params, metrics and tags are in the run; doing it again adds nothing."""
    from mlflow.entities import Metric, Param, RunTag

    known = run.data.params
    settings = {} if config is None else redact_json(config.model_dump(mode="json"))
    params = [Param(key, value) for key, value in flatten(settings) if key not in known]
    for first in range(0, len(params), _BATCH):
        client.log_batch(run.info.run_id, params=params[first : first + _BATCH])
    # The run's own start stands in for "now": a repeated call writes the same point again.
    start, figures = run.info.start_time, metric_values(report) if report is not None else ()
    metrics = [Metric(key, value, start, 0) for key, value in figures if key not in run.data.metrics]
    client.log_batch(run.info.run_id, metrics=metrics, tags=[RunTag(key, value) for key, value in tags.items()])


def log_batches(client: MlflowClient, run: Run, points: Sequence[Metric]) -> None:
    """Every point of the curves is in the run."""
    for first in range(0, len(points), _METRICS_BATCH):
        client.log_batch(run.info.run_id, metrics=points[first : first + _METRICS_BATCH])


def curve_points(epochs: Sequence[Epoch], start_ms: int) -> list[Metric]:
    """One point per epoch and curve: losses, the validation figure, the learning rate, the gradient norm."""
    from mlflow.entities import Metric

    points, elapsed_s = [], 0.0
    for epoch in epochs:
        elapsed_s += epoch.seconds
        for key, name in _CURVES.items():
            value: float | None = getattr(epoch, key, None)
            if value is not None and math.isfinite(value):
                points.append(Metric(name, float(value), start_ms + round(1000 * elapsed_s), epoch.epoch))
    return points


def log_dataset(client: MlflowClient, run: Run, valid: ValidatedRef, config: RunConfig) -> None:
    """The run's input names the samples by their digest, with their number and columns."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    columns = [*valid.clean.modalities, *(target.name for target in valid.clean.label_targets)]
    schema = {"mlflow_colspec": [{"name": name, "type": "string", "required": False} for name in columns]}
    counts = valid.clean.counts
    splits = {str(name): rows for name, rows in valid.clean.splits.items()}
    profile = {"num_rows": valid.rows, **splits, "rows_in": counts.rows_in, "quarantined": counts.quarantined}
    dataset = Dataset(
        name=str(config.name),
        digest=valid.sha256[:_DIGEST_CHARS],
        source_type="crossmodal",
        source=json.dumps({"uri": redact(config.data.path)}),
        schema=json.dumps(schema),
        profile=json.dumps(profile),
    )
    client.log_inputs(run.info.run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])


def log_pages(client: MlflowClient, run: Run, record: RunRecord, store: Store, tracking_uri: str) -> None:
    """The report, the confusion matrix, Data Docs and the model card are among the run's artifacts."""
    for name in ("report.html", "confusion.svg"):
        if (record.folder / name).is_file():
            log_file(client, run, record.folder / name, "", tracking_uri)
    if (record.folder / "docs").is_dir():
        log_folder(client, run, record.folder / "docs", "docs", tracking_uri)
    if record.valid and record.checkpoint and record.report and record.verdict:
        chain = chain_of(record.verdict, store)
        history = history_of(store.path(record.checkpoint.uri))
        card = write_card(
            record.checkpoint, record.report, record.verdict, record.valid, record.config, chain, history=history
        )
        client.log_text(run.info.run_id, card, "model_card.md")


def flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """`train.epochs` to "40" for every value of nested sections; lists are JSON."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value if isinstance(value, str) else json.dumps(value)


def metric_values(report: EvalReport) -> Iterator[tuple[str, float]]:
    """`test/accuracy`, `columns/NAME/mae` of a further label column, `by_modalities/image-audio/accuracy` (MLflow takes no
    `+`); undefined figures are left out."""
    subsets = (
        (f"by_modalities/{present.replace('+', '-')}", figures) for present, figures in report.by_modalities.items()
    )
    columns = ((_metric_prefix(name), figures) for name, figures in report.metrics.items())
    for prefix, figures in (*columns, *subsets):
        for key, value in figures.items():
            if value is not None and math.isfinite(value):
                yield f"{prefix}/{key}", value


def _metric_prefix(name: str) -> str:
    """`test`, or a further label column's name as MLflow takes it: a digest distinguishes what is left out."""
    if name == "test":
        return name
    clean = re.sub(r"[^A-Za-z0-9_. -]+", "_", name)[:_PREFIX_CHARS].strip(". ") or "column"
    digest = "" if clean == name else f"-{hashlib.sha256(name.encode('utf-8')).hexdigest()[:8]}"
    return f"columns/{clean}{digest}"
