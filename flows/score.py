"""Predictions of a published model on a manifest: what `crossmodal predict` runs."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from data_contracts.refs import ChampionRef, CleanRef, Metrics, Target
from data_contracts.run_summary import RunSummary
from flows.execute import RunFailed, attempt
from flows.known_labels import match_labels
from flows.pipeline import RunState, Stages, champion_config, extract_features
from flows.request import Request
from flows.summary import summarise, write_summary
from tasks.config import RunConfig
from tasks.contract import read_table
from tasks.errors import UsageError
from tasks.ingest.ingest import ingest
from tasks.ingest.manifest.scan import scan
from tasks.ingest.sources.resolve import locate_data
from tasks.labels import label_columns
from tasks.modeling.predictions import predictions_table, write_predictions
from tasks.publish.registry import fetch_champion, list_models


def predict_manifest(request: Request, model: str | None, out: str) -> RunSummary:
    """Writes one prediction per usable row to `out` and returns the run's summary. Rows that cannot be read are listed."""
    target = check_target(out)
    champion = find_model(request, model)
    run_state = RunState(champion=champion)
    tables: list[pa.Table] = []
    error = attempt(lambda: tables.append(predict_table(request, champion, run_state)), run_state)
    if error is not None:
        summary = summarise(request, run_state, "predict", str(error))
        write_summary(request, run_state, summary)
        raise RunFailed(error, summary) from error
    given = match_labels(tables[0]["label"].to_pylist(), _first_target(champion, request))
    place = tables[0].schema.get_field_index("label")
    table = tables[0].set_column(place, tables[0].schema.field(place), pa.array(given.labels, pa.string()))
    write_predictions(target, table)
    labelled = table.filter(pa.array(given.rows, pa.bool_()))
    read = run_state.clean.notes if run_state.clean is not None else ()
    summary = summarise(
        request,
        run_state,
        "predict",
        labelled=labelled.num_rows,
        notes=(*read, *filter(None, [given.describe()])),
        metrics={"labelled": _figures(labelled, champion, request)} if labelled.num_rows else {},
        out=str(target),
        quarantine=str(request.folder / "quarantine.csv"),
    )
    write_summary(request, run_state, summary)
    return summary


def _figures(table: pa.Table, champion: ChampionRef, request: Request) -> Metrics:
    """Of rows whose truth is known: accuracy, of sets of labels exact_match, of numbers mae."""
    problem = _first_target(champion, request).problem
    pairs = list(zip(table["label"].to_pylist(), table["predicted"].to_pylist(), strict=True))
    if problem == "regression":
        return {"mae": sum(abs(float(truth) - float(guess)) for truth, guess in pairs) / len(pairs)}
    right = sum(truth == guess for truth, guess in pairs) / len(pairs)
    return {"accuracy" if problem == "multiclass" else "exact_match": right}


def _first_target(champion: ChampionRef, request: Request) -> Target:
    """The model's first label column."""
    from tasks.modeling.card import read_card, read_targets

    return read_targets(read_card(request.store.path(champion.uri)))[0]


def predict_table(request: Request, champion: ChampionRef, run_state: RunState) -> pa.Table:
    """The predictions of every usable row; what is known of the rows is left in `run_state`."""
    config = asking(champion_config(champion, request), champion, request)
    with run_state.timed("ingest"):
        raw = scan(config, request.store, locate_data(config, request.store), "predict")
        clean = run_state.clean = ingest(raw, config, request.store, "predict")
    run_state.features = extract_features(clean, config, request.store, Stages(), run_state)
    with run_state.timed("evaluate"):
        return predict_samples(clean, champion, run_state, request)


def asking(config: RunConfig, champion: ChampionRef, request: Request) -> RunConfig:
    """The config under which a label column, where there is one, is read as the model's first."""
    first = _first_target(champion, request)
    columns = config.data.columns.model_copy(update={"label": label_columns(config.data)[0].name, "labels": ()})
    data = config.data.model_copy(update={"problem": first.problem, "columns": columns})
    return config.model_copy(update={"data": data})


def predict_samples(clean: CleanRef, champion: ChampionRef, run_state: RunState, request: Request) -> pa.Table:
    """The predictions table, in the samples' order; the model's outputs in the order of `crossmodal.labels` in its metadata."""
    from tasks.modeling.card import read_card
    from tasks.modeling.inference import predict_probabilities
    from tasks.modeling.package import load_model

    samples = read_table(request.store.path(clean.uri) / "samples.parquet")
    model = load_model(request.store.path(champion.uri))
    card = read_card(request.store.path(champion.uri))
    outputs = predict_probabilities(model, samples, run_state.features, request.store)
    read = [name for name in clean.modalities if name in card["modalities"]]  # not an image_3 that it was never given
    return predictions_table(samples, outputs, card, read)


def find_model(request: Request, model: str | None) -> ChampionRef:
    """The model that `NAME@ALIAS` names; without a name the only one there is. UsageError otherwise."""
    name, _, alias = (model or "").partition("@")
    if not name:
        known = _known_models(request)
        if len(known) != 1:
            listed = ", ".join(known) or "none yet; publish one with crossmodal retrain"
            raise UsageError(f"--model is needed: the registry holds {len(known)} models ({listed})")
        name = known[0]
    found = fetch_champion(name, alias or "champion", request.store, request.tracking_uri)
    if found is None:
        raise UsageError(
            f"--model {name}@{alias or 'champion'}: not in the registry; it holds "
            f"{', '.join(_known_models(request)) or 'no model'}. "
            "Publish one with crossmodal retrain, or choose another --store"
        )
    return found


def _known_models(request: Request) -> list[str]:
    return [entry["name"] for entry in list_models(request.store, request.tracking_uri)]


def check_target(out: str) -> Path:
    """The output path, when it can be written to. Raises UsageError."""
    target = Path(out).absolute()
    if target.suffix != ".parquet":
        raise UsageError(f"--out {out!r}: predictions are written as Parquet; use a name that ends in .parquet")
    if not target.parent.is_dir():
        raise UsageError(f"--out {out!r}: the folder {str(target.parent)!r} does not exist")
    if target.is_dir():
        raise UsageError(f"--out {out!r}: is a folder")
    return target
