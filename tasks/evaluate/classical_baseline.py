"""What classical features reach with logistic regression: of each input, of all, and with fewer training rows.

It depends on the rows and not on the model, so it is an artifact of its own: the next model on the same rows finds it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from data_contracts.baselines import ClassicalBaselines, CurvePoint, LinearBaseline
from data_contracts.modalities import in_order, modality_of
from data_contracts.refs import Frozen, InputName, ValidatedRef
from tasks import progress
from tasks.config import RunConfig
from tasks.errors import EnvironmentFailed
from tasks.evaluate.baseline_tables import Table, make_tables, scaling_of
from tasks.evaluate.linear_baseline import best_of_grid, within_budget
from tasks.fingerprint import code_fingerprint
from tasks.media.media_store import MediaReader
from tasks.modalities import joined, spec_of
from tasks.problems.metric import Floats
from tasks.problems.registry import problem_of
from tasks.samples import Samples
from tasks.store import Store, digest_json

if TYPE_CHECKING:
    from tasks.evaluate.comparison import ComparisonRows
    from tasks.evaluate.scorers import Columns
    from tasks.problems.scoring import AnyScorer

KIND = "classical_baselines"
PROBABILITIES = "probabilities.safetensors"
CLASSICAL = "classical"
SHARES = (0.25, 0.5, 1.0)
"""Of the training rows."""
LEAST_ROWS = 80
"""Training rows for a curve: of a quarter of them little can be learned."""
BUDGET = 250_000_000
"""As of the linear baseline, for each fit: about 15 s of CPU."""


class Fit(Frozen):
    """One of the fits, whose probabilities of the test rows lie beside it."""

    inputs: str
    share: float
    c: float
    rows: int
    width: int
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Of its probabilities."""
        return f"{self.inputs} {self.share:g}"


class Fits(Frozen):
    """All that were fitted to the rows."""

    labels: tuple[str, ...]
    fits: tuple[Fit, ...] = Field(default=())


def readable(names: Sequence[InputName]) -> tuple[InputName, ...]:
    """The inputs that have classical features."""
    return tuple(name for name in in_order(names) if spec_of(name).classical_scaling is not None)


def measure_classical(
    valid: ValidatedRef,
    of_model: Mapping[str, AnyScorer],
    columns: Columns,
    rows: ComparisonRows,
    places: NDArray[np.int64],
    config: RunConfig,
    store: Store,
) -> ClassicalBaselines | None:
    """Their figures on the test rows at `places` beside the model's, `of_model` by the inputs that it was given.

    None where no input has classical features.
    """
    names = readable([name for name in valid.clean.modalities if name in of_model])
    total, most = sum(valid.clean.splits.values()), config.evaluate.classical_rows
    if not names:
        return None
    if total > most:
        return ClassicalBaselines(skipped=f"{total:,} rows are more than evaluate.classical_rows = {most:,}")
    try:
        found, probabilities = fit_classical(valid, names, config, store)
    except EnvironmentFailed as error:  # the model's own features are there, and its figures need no media
        return ClassicalBaselines(skipped=str(error))
    if not found.fits:
        return ClassicalBaselines(skipped="there are no validation rows, or training rows of fewer than two classes")
    labels, target = columns.labels[0], columns.card.label_targets[0]
    wide, cells = target.model_copy(update={"labels": labels}), columns.samples.targets(0, "")

    def scorer(fit: Fit) -> AnyScorer:
        """Over the labels of the evaluation."""
        outputs = np.zeros((len(places), len(labels)))
        outputs[:, [labels.index(label) for label in found.labels]] = probabilities[fit.name][places]
        return problem_of(target).scorer(outputs, cells, wide, labels, None)

    by_inputs, curve, scorers = {}, [], {}
    for fit in found.fits:
        scorers[fit.name] = each = scorer(fit)
        if fit.share == 1 and fit.inputs in of_model:  # of many inputs not every set is
            by_inputs[fit.inputs] = LinearBaseline(
                metrics=each.score(),
                c=fit.c,
                rows=fit.rows,
                width=fit.width,
                differences=of_model[fit.inputs].differences(each, config.seed, clusters=rows.clusters),
                notes=fit.notes,
            )
    last = [fit for fit in found.fits if fit.inputs == joined(names)]
    for fit in last if len(last) == len(SHARES) else []:
        each = scorers[fit.name]
        interval = each.intervals(config.seed, clusters=rows.clusters).get("accuracy")
        curve.append(
            CurvePoint(share=fit.share, rows=fit.rows, accuracy=each.score()["accuracy"] or 0.0, interval=interval)
        )
    gain = None
    if curve:
        half, whole = (scorers[fit.name] for fit in last[-2:])
        gain = whole.differences(half, config.seed, clusters=rows.clusters).get("accuracy")
    return ClassicalBaselines(by_inputs=by_inputs, curve=tuple(curve), gain=gain)


def fit_classical(
    valid: ValidatedRef, names: tuple[InputName, ...], config: RunConfig, store: Store
) -> tuple[Fits, Mapping[str, Floats]]:
    """All fits with their probabilities (T, C) of the test rows, from the store or new; C from the validation rows."""
    from safetensors.numpy import load, save

    modules = sorted({"tasks.modeling.classical", *(module for name in names for module in spec_of(name).tiny_modules)})
    code = code_fingerprint("evaluate", "tiny_inputs", modules=tuple(modules))
    key = digest_json(
        {
            "valid": valid.sha256,
            "media": {name: valid.clean.media[name] for name in names},
            "config": config.subset("seed", "extract"),
            "code": code,
        }
    )
    if (held := store.find(KIND, key)) is not None:
        data = (store.path(f"{KIND}/{key}") / PROBABILITIES).read_bytes()
        return Fits.model_validate(held.ref), load(data)
    fits, probabilities = _fit(valid, names, config, store)
    with store.create(KIND, key, [valid.uri], code) as draft:
        (draft.path / PROBABILITIES).write_bytes(save(probabilities))
        draft.ref = fits.model_dump(mode="json")
    return fits, probabilities


def _fit(
    valid: ValidatedRef, names: tuple[InputName, ...], config: RunConfig, store: Store
) -> tuple[Fits, dict[str, Floats]]:
    labels = valid.clean.label_targets[0].labels
    samples = Samples.read(store.path(valid.uri))
    samples = samples.where(np.isin(samples.labels, labels) | (np.array(samples.splits) == "test"))
    if not {"train", "val"} <= set(samples.splits):
        return Fits(labels=labels), {}
    features = {name: read_features(samples, name, valid, config, store) for name in names}
    fits: list[Fit] = []
    probabilities: dict[str, Floats] = {}
    for chosen in dict.fromkeys([*((name,) for name in names), names]):
        parts = [(features[name].copy(), scaling_of(name, CLASSICAL)) for name in chosen]
        tables = make_tables(samples, labels, parts)
        whole = len(tables["train"].truth)
        shares = SHARES if chosen == names and whole >= LEAST_ROWS else SHARES[-1:]
        for share in shares:
            progress.report("evaluate", len(fits), len(names) + len(SHARES), f"classical {joined(chosen)}")
            train, notes = _part(tables["train"], share, len(labels), config.seed)
            if len(np.unique(train.truth)) < 2:
                continue
            given, c = best_of_grid(train, tables["val"], tables["test"].features, len(labels), notes)
            fit = Fit(
                inputs=joined(chosen),
                share=share,
                c=c,
                rows=len(train.truth),
                width=train.features.shape[1],
                notes=tuple(notes),
            )
            fits.append(fit)
            probabilities[fit.name] = given
    return Fits(labels=labels, fits=tuple(fits)), probabilities


def _part(train: Table, share: float, classes: int, seed: int) -> tuple[Table, list[str]]:
    """A share of the training rows, the smaller within the larger, and what is to be known of it."""
    order = np.random.default_rng(seed).permutation(len(train.truth))
    drawn = np.sort(order[: max(2, round(share * len(order)))])
    kept = within_budget(len(drawn), train.features.shape[1] * classes, seed, BUDGET)
    notes = []
    if len(kept) < len(drawn):
        notes.append(f"fitted on {len(kept):,} of {len(drawn):,} training rows, so that it takes no longer")
    return train.take(drawn[kept]), notes


def read_features(
    samples: Samples, name: InputName, valid: ValidatedRef, config: RunConfig, store: Store
) -> NDArray[np.float32]:
    """(N, D) the classical features of one input, zeros where a row lacks it. EnvironmentFailed where a medium is gone."""
    from tasks.modeling.embed import embed
    from tasks.modeling.encoder_reading import params_of, preparer
    from tasks.modeling.encoder_spec import EncoderSpec

    modality = modality_of(name)
    spec = EncoderSpec(encoder=CLASSICAL, reads="embedding", width=spec_of(name).classical_network().width)
    prepare = preparer(modality, spec, params_of(modality, config.extract, pretrained=False))
    reader = MediaReader(store, modality, valid.clean.media[name])
    cells = samples.digests(name)
    known: dict[str, list[int]] = {}
    for row, cell in enumerate(cells):
        if cell is not None:
            known.setdefault(cell, []).append(row)
    found = np.zeros((len(cells), spec.width or 0), np.float32)
    inputs = ((digest, prepare(medium, reader.rate_hz)) for digest, medium in reader.read(list(known)))
    for digest, vector in embed(modality, spec, inputs):
        found[known.pop(digest)] = vector
    if known:
        raise EnvironmentFailed(f"{name}: {len(known):,} media are not in the store any more; run ingest again")
    return found
