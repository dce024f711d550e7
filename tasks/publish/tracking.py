"""What MLflow's tracking shows of a run: its params, its figures, its model files."""

from __future__ import annotations

import hashlib
import json
import math
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_contracts.refs import EvalReport
from tasks.config import RunConfig
from tasks.modeling.card import files_beside, read_card
from tasks.publish import versions
from tasks.publish.connection import is_database
from tasks.store import Store

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_BATCH = 100  # params and tags that MLflow takes at once
_PREFIX_CHARS = 100  # of the 250 that a metric's name may have


def open_experiment(client: MlflowClient, name: str, store: Store, tracking_uri: str) -> str:
    """The id of the model's experiment. Under a database its files go below the store, never into the current folder."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        location = (store.root / "mlartifacts" / name).as_uri() if is_database(tracking_uri) else None
        try:
            return str(client.create_experiment(name, artifact_location=location))
        except MlflowException:
            found = client.get_experiment_by_name(name)  # another run made it in between
            if found is None:
                raise
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


def open_run(client: MlflowClient, experiment: str, run_id: str) -> Run:
    """MLflow's run of this crossmodal run: the one a killed process left, or a new one."""
    for run in client.search_runs([experiment], max_results=1000):
        if run.data.tags.get(versions.RUN) == run_id:
            return run
    return client.create_run(experiment, run_name=run_id, tags={versions.RUN: run_id})


def log_figures(client: MlflowClient, run: Run, config: RunConfig, report: EvalReport, tags: Mapping[str, str]) -> None:
    """Params, metrics and tags are in the run; doing it again adds nothing."""
    from mlflow.entities import Metric, Param, RunTag

    known = run.data.params
    params = [Param(key, value) for key, value in flatten(config.model_dump(mode="json")) if key not in known]
    for first in range(0, len(params), _BATCH):
        client.log_batch(run.info.run_id, params=params[first : first + _BATCH])
    # The run's own start stands in for "now": a repeated call writes the same point again.
    start = run.info.start_time
    metrics = [Metric(key, value, start, 0) for key, value in metric_values(report) if key not in run.data.metrics]
    client.log_batch(run.info.run_id, metrics=metrics, tags=[RunTag(key, value) for key, value in tags.items()])


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
    subsets = ((f"by_modalities/{given.replace('+', '-')}", figures) for given, figures in report.by_modalities.items())
    columns = ((_metric_prefix(name), figures) for name, figures in report.metrics.items())
    for prefix, figures in (*columns, *subsets):
        for key, value in figures.items():
            if value is not None and math.isfinite(value):
                yield f"{prefix}/{key}", value


def _metric_prefix(name: str) -> str:
    """`test`, or a further label column's name as MLflow takes it: what is left out is told apart by a digest."""
    if name == "test":
        return name
    clean = re.sub(r"[^A-Za-z0-9_. -]+", "_", name)[:_PREFIX_CHARS].strip(". ") or "column"
    digest = "" if clean == name else f"-{hashlib.sha256(name.encode('utf-8')).hexdigest()[:8]}"
    return f"columns/{clean}{digest}"


def stage_model(checkpoint: Path, card: str, beside: Sequence[Path], folder: Path) -> None:
    """An MLflow model is in `folder`: our files, those on the rows it was made with, the model card, served_model.py as its
    code."""
    import mlflow.pyfunc

    readme = folder.parent / "README.md"
    readme.write_text(card, encoding="utf-8")
    files = [checkpoint / name for name in (*versions.FILES, *files_beside(read_card(checkpoint)))] + [*beside, readme]
    # Advice on type hints, meant for authors of models. Recorded, because MLflow overrides filters that ignore it.
    with warnings.catch_warnings(record=True):
        mlflow.pyfunc.save_model(
            path=str(folder),
            python_model=str(Path(__file__).with_name("served_model.py")),
            artifacts={file.name: str(file) for file in files},
            pip_requirements=list(requirements()),
        )


def requirements() -> Iterator[str]:
    """What serving needs besides crossmodal itself, which is on no index: naming it there would invite an impostor."""
    from importlib.metadata import version

    for library in ("mlflow", "numpy", "pandas", "pyarrow", "pydantic", "safetensors", "torch"):
        yield f"{library}=={version(library)}"
