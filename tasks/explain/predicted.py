"""What answers to rows without a study around them rest on: new rows, which may have no label."""

from __future__ import annotations

from collections.abc import Mapping

from data_contracts.explanations import ExplanationReport, RowExplanation, RowShapley
from data_contracts.refs import ChampionRef, CleanRef, FeatureRef, InputName
from tasks import progress
from tasks.config import RunConfig
from tasks.explain.encoded import encode_rows
from tasks.explain.explainer import Explainer
from tasks.explain.figures import input_figures
from tasks.explain.media_rows import media_rows, specs_of
from tasks.modeling.card import ModelCard
from tasks.modeling.inference import load_inputs
from tasks.modeling.package import load_model
from tasks.samples import Samples
from tasks.store import Store


def load_published(champion: ChampionRef, card: ModelCard, config: RunConfig, store: Store) -> Explainer:
    """A published model, whose card this is, with what is asked of it; `config` reads media as it does."""
    model = load_model(store.path(champion.uri), card, champion.model_sha256)
    return Explainer(model, card, specs_of(card, config), config.explain.label, config.explain.n_steps)


def value_rows(
    explainer: Explainer, samples: Samples, features: Mapping[InputName, FeatureRef], store: Store
) -> list[RowShapley]:
    """The exact Shapley values of every row's inputs."""
    encoded = encode_rows(explainer.model, load_inputs(explainer.model, samples, features, store))
    truth = explainer.question.truth(samples)
    return explainer.rows_of(explainer.shapley(encoded, truth), encoded, samples.ids)


def explain_rows(
    explainer: Explainer,
    samples: Samples,
    values: list[RowShapley],
    answers: list[str],
    clean: CleanRef,
    champion: ChampionRef,
    config: RunConfig,
    store: Store,
) -> ExplanationReport:
    """All of these rows in detail; nothing is known of training rows here, so none are nearest."""
    question = explainer.question
    labels, groups = samples.labels, samples.groups
    explained = []
    for row, media in enumerate(media_rows(samples, clean, explainer.card, config, store)):
        progress.report("explain", row, len(samples))
        explained.append(
            RowExplanation(
                id=values[row].id,
                row=samples.manifest_rows[row],
                table=samples.tables[row],
                group=groups[row],
                label=labels[row],
                answer=answers[row],
                wrong=bool(labels[row]) and not question.is_numeric and labels[row] != answers[row],
                shapley=values[row],
                attributions=explainer.explain_row(media, config.explain.inputs)[1],
            )
        )
    progress.report("explain", len(samples), len(samples))
    figures, dominant = input_figures(explainer.model.modalities, values, [""] * len(values), None, config.seed)
    gaps = [each.gap for row in explained for each in row.attributions if each.gap is not None]
    return ExplanationReport(
        model=champion.name,
        version=champion.version,
        split="",
        rows=len(values),
        output=question.says(),
        is_numeric=question.is_numeric,
        dominant=dominant,
        inputs=figures,
        largest_gap=max(gaps, default=None),
        wrong=sum(row.wrong for row in explained),
        answered=sum(bool(row.label) for row in explained),
        explained=tuple(explained),
        values=tuple(values),
    )
