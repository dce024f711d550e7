"""Predictions of a published model on a manifest: what `crossmodal predict` runs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import pyarrow as pa

from data_contracts.refs import ChampionRef, CleanRef, Metrics
from data_contracts.run_summary import RunSummary
from flows.champion import champion_config
from flows.data_stages import extract_features
from flows.execute import attempt
from flows.predicted_rows import PredictedRows
from flows.request import Request
from flows.run_failed import RunFailed
from flows.run_state import RunState
from flows.stages import Stages
from flows.summary import summarise, write_summary
from tasks.config import RunConfig
from tasks.config_explain import ExplainConfig
from tasks.errors import UsageError
from tasks.explain.checks import require_few, require_inputs, require_label
from tasks.ingest.ingest import ingest
from tasks.ingest.manifest.carried_columns import CarriedColumns
from tasks.ingest.manifest.scan import scan
from tasks.ingest.sources.listing import split_of_name
from tasks.ingest.sources.resolve import locate_data
from tasks.ingest.sources.tables import is_table
from tasks.labels import label_columns
from tasks.modeling.card import ModelCard, read_card
from tasks.modeling.prediction_files import WRITERS, write_tables
from tasks.modeling.predictions import predictions_table
from tasks.packages import missing_package
from tasks.publish.registry import fetch_champion, list_models
from tasks.samples import Samples


def predict_manifest(
    request: Request, model: str | None, out: str, columns: Sequence[str] = (), explain: bool = False
) -> RunSummary:
    """Writes one line per row of the input to `out`, in its order, and returns the run's summary.

    A row that cannot be read has the reason in place of an answer. `columns` of the input are carried along. `explain`: what
    each input adds to each answer, too, and of few rows a page.
    """
    target = check_target(out, request.config.data.path)
    champion = find_model(request, model)
    run_state = RunState(champion=champion)
    found: list[tuple[int, Metrics]] = []
    pages: list[str | None] = []
    card = read_card(request.store.path(champion.uri), champion.card_sha256)
    if explain:
        require_explainable(card, request.config.explain)

    def predict() -> None:
        """The predictions are written; `found` holds how many rows they were scored on, and the figures."""
        with CarriedColumns(columns, request.store.root) as carried:
            rows = predict_rows(request, champion, card, run_state, carried)
            if explain and run_state.clean is not None:
                from flows.explained_predictions import explain_predictions

                config = champion_config(champion, card, request)
                rows, page = explain_predictions(rows, run_state.clean, champion, card, config, run_state, request)
                pages.append(page)
            run_state.warnings += [*carried.notes, *write_tables(target, rows.tables())]
        seen = rows.describe_seen(run_state.clean, champion, card, request.store)
        run_state.warnings += filter(None, [rows.labels.describe(), seen])
        found.append(rows.score(card))

    error = attempt(predict, run_state)
    if error is not None:
        summary = summarise(request, run_state, "predict", str(error))
        write_summary(request, run_state, summary)
        raise RunFailed(error, summary) from error
    labelled, figures = found[0]
    summary = summarise(
        request,
        run_state,
        "predict",
        labelled=labelled,
        metrics={"labelled": figures} if labelled else {},
        notes=(*(run_state.clean.notes if run_state.clean else ()), *run_state.warnings),
        out=str(target),
        report=next(filter(None, pages), None),
        quarantine=None if request.store.view_of else str(request.folder / "quarantine.csv"),
    )
    write_summary(request, run_state, summary)
    return summary


def require_explainable(card: ModelCard, asked: ExplainConfig) -> None:
    """Raises UsageError where the model does not read an input or know a label that is asked for, or reads too many inputs;
    EnvironmentFailed where captum is not installed: before any work."""
    require_few(card)
    require_label(card, asked.label)
    require_inputs(card, asked.inputs)
    if find_spec("captum") is None:
        error = missing_package(ModuleNotFoundError("captum", name="captum"))
        assert error is not None  # it is no module of ours
        raise error


def predict_rows(
    request: Request, champion: ChampionRef, card: ModelCard, run_state: RunState, carried: CarriedColumns
) -> PredictedRows:
    """Every row of the input with its answer; what is known of the rows is left in `run_state`. `card` is the champion's.

    Raises UsageError for a column to be carried along that the input does not have, before anything is computed.
    """
    config = asking(champion_config(champion, card, request), card)
    with run_state.timed("ingest"):
        raw = scan(config, request.store, locate_data(config, request.store), "predict", carried)
        clean = run_state.clean = ingest(raw, config, request.store, "predict")
    run_state.features = extract_features(clean, config, request.store, Stages(), run_state)
    with run_state.timed("evaluate"):
        answers = predict_samples(clean, champion, card, run_state, request)
        return PredictedRows.read(answers, raw, clean, card, carried, request.store)


def asking(config: RunConfig, card: ModelCard) -> RunConfig:
    """The config under which a label column, where there is one, is the model's first, and a table's are its own."""
    roles = {"label": label_columns(config.data)[0].name, "labels": ()}
    columns = config.data.columns.model_copy(update=roles | card.joined_columns())
    data = config.data.model_copy(update={"problem": card.label_targets[0].problem, "columns": columns})
    return config.model_copy(update={"data": data})


def predict_samples(
    clean: CleanRef, champion: ChampionRef, card: ModelCard, run_state: RunState, request: Request
) -> pa.Table:
    """The predictions table, in the samples' order; the model's outputs in the order of `crossmodal.labels` in its metadata."""
    from tasks.modeling.inference import predict_probabilities
    from tasks.modeling.package import load_model
    from tasks.modeling.unknown_cells import describe_unknown

    samples = Samples.read(request.store.path(clean.uri))
    model = load_model(request.store.path(champion.uri), card, champion.model_sha256)
    run_state.warnings += describe_unknown(card, samples, clean, request.store)
    outputs = predict_probabilities(model, samples, run_state.features, request.store)
    read = [name for name in clean.modalities if name in card.modalities]  # not an image_3 that it was never given
    return predictions_table(samples, outputs, card, read)


def find_model(request: Request, model: str | None) -> ChampionRef:
    """The model that `NAME@ALIAS` names; without a name the only one there is. UsageError otherwise."""
    if model and "/" in model:
        raise UsageError(
            f"--model {model!r}: name a model of the registry, NAME or NAME@ALIAS; a release's folder answers in Python, "
            f"crossmodal.load({model!r}), and over HTTP, crossmodal serve {model}"
        )
    name, at, alias = (model or "").partition("@")
    if at and not alias:
        raise UsageError(f"model {model!r}: names no alias after the @; leave it out for the champion")
    if not name:
        known = _known_models(request)
        if len(known) != 1:
            listed = ", ".join(known) or "none yet; publish one with crossmodal retrain"
            raise UsageError(f"--model is needed: the registry holds {len(known)} models ({listed})")
        name = known[0]
    found = fetch_champion(name, alias or "champion", request.store, request.tracking_uri, request.verify_key)
    if found is None:
        raise _missing(name, alias or "champion", request)
    return found


def _missing(name: str, alias: str, request: Request) -> UsageError:
    """Says whether the model or only its alias is not there."""
    models = {entry["name"]: entry for entry in list_models(request.store, request.tracking_uri)}
    if name in models:
        aliases = ", ".join(f"{known} (version {number})" for known, number in sorted(models[name]["aliases"].items()))
        return UsageError(
            f"model {name}@{alias}: {name} has no alias {alias}; it has {aliases or 'none'}. Name another, or give a version "
            "this one with crossmodal models promote"
        )
    return UsageError(
        f"model {name}@{alias}: not in the registry; it holds {', '.join(models) or 'no model'}. "
        "Publish one with crossmodal retrain, or choose another --store"
    )


def _known_models(request: Request) -> list[str]:
    return [entry["name"] for entry in list_models(request.store, request.tracking_uri)]


def check_target(out: str, data: str) -> Path:
    """The output path, when it can be written to and is not the input. Raises UsageError."""
    target = Path(out).absolute()
    if target.suffix.lower() not in WRITERS:
        raise UsageError(
            f"--out {out!r}: predictions are written as Parquet, CSV or JSON lines; use a name that ends in "
            f"{', '.join(WRITERS)}"
        )
    if not target.parent.is_dir():
        raise UsageError(f"--out {out!r}: the folder {str(target.parent)!r} does not exist")
    if target.is_dir():
        raise UsageError(f"--out {out!r}: is a folder")
    if not os.access(target.parent, os.W_OK):
        raise UsageError(f"--out {out!r}: the folder {str(target.parent)!r} cannot be written to")
    if target.exists() and Path(data).exists() and target.samefile(data):
        raise UsageError(f"--out {out!r}: is the data to be predicted; choose another file")
    folder = Path(data)
    if folder.is_dir() and target.resolve().is_relative_to(folder.resolve()) and not _has_tables(folder):
        raise UsageError(
            f"--out {out!r}: lies in the folder to be predicted, whose table it would be the next time; choose another "
            f"place, for example --out {folder.resolve().parent / target.name}"
        )
    return target


def _has_tables(folder: Path) -> bool:
    """Whether tables in a folder are read by their names, whatever lies beside them."""
    tables = [name for name in os.listdir(folder) if is_table(name)]  # noqa: PTH208 (names, not paths)
    return any(split_of_name(name) is not None or name.split(".")[0].lower() == "manifest" for name in tables)
