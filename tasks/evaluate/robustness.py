"""Figures on test rows whose media are corrupted: how a model does on noisy pictures, telephone lines and typing errors.

The rows' canonical media are corrupted in memory, in five severities each, and read as those of the store are: frozen encoders
embed them anew. The same rows and the same seed give the same media, for the champion as well, so that both answer the same.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from data_contracts.modalities import modality_of
from data_contracts.refs import CheckpointRef, FeatureRef, InputName, Modality, PreparedChampion, ValidatedRef
from data_contracts.slices import PartFigures, RobustnessCurve
from tasks import progress
from tasks.config import Rule, RunConfig
from tasks.evaluate.media_reading import FeatureMaker, Media, encoded_once, read_media, with_features
from tasks.evaluate.scorers import Columns
from tasks.evaluate.slice_figures import Measured, asked_corruptions, hold_against, measure
from tasks.media.corruptions import SEVERITIES
from tasks.modalities import MODALITIES
from tasks.modeling.card import ModelCard, read_card
from tasks.modeling.inference import load_inputs, predict_inputs
from tasks.modeling.package import load_model
from tasks.modeling.profile import choose_places
from tasks.modeling.row_clusters import clusters_of
from tasks.problems.intervals import CONFIDENCE
from tasks.problems.metric import Indices, Probabilities
from tasks.problems.scoring import AnyScorer
from tasks.samples import Samples
from tasks.store import Store

Level = tuple[str, int]
"""`noise` of a modality, and its severity."""


@dataclass(frozen=True)
class MediaModel:
    """A model with the samples and features as it reads them."""

    uri: str
    card: ModelCard
    valid: ValidatedRef
    features: Mapping[InputName, FeatureRef]

    @classmethod
    def of(
        cls, checkpoint: CheckpointRef, valid: ValidatedRef, features: Mapping[InputName, FeatureRef], card: ModelCard
    ) -> MediaModel:
        """The candidate."""
        return cls(checkpoint.uri, card, valid, features)

    def outputs(
        self, samples: Samples, modality: Modality, levels: Iterable[Level], config: RunConfig, store: Store
    ) -> Iterator[tuple[Level, Probabilities]]:
        """Each level, and what the model gives out (N, outputs) to these samples, the media of one kind corrupted so."""
        folder = store.path(self.uri)
        model = load_model(folder, self.card)
        inputs = load_inputs(model, samples, self.features, store)
        names = [name for name in model.modalities if modality_of(name) == modality]
        media = {name: read_media(samples, name, self.valid.clean.media, store) for name in names}
        makers = [FeatureMaker.of(name, self.card, folder, config) for name in names]
        with encoded_once(model, inputs, names):
            for level in levels:
                changed = inputs
                for maker in makers:
                    corrupted = _corrupt(media[maker.name], samples.ids, maker.name, level, config.seed)
                    changed = with_features(changed, maker.name, maker.make(corrupted))
                yield level, predict_inputs(model, changed)


def measure_robustness(
    candidate: MediaModel, champion: PreparedChampion | None, columns: Columns, measured: Measured, store: Store
) -> list[RobustnessCurve]:
    """A curve for each corruption that is asked for; the champion is scored on the same media where a rule compares with it."""
    asked: dict[Modality, list[str]] = defaultdict(list)
    for corruption in asked_corruptions(measured.config, candidate.card.modalities):
        modality, _, name = corruption.partition("/")
        asked[modality_of(modality)].append(name)
    found = []
    for modality, names in asked.items():
        rows = _choose_rows(columns.samples, modality, candidate.card, measured.config)
        if len(rows):
            found += _Curves(candidate, columns, measured, modality, rows, store).draw(names, champion)
    return found


def _choose_rows(samples: Samples, modality: Modality, card: ModelCard, config: RunConfig) -> Indices:
    """Positions of test rows with a medium of this kind, at most evaluate.robustness_rows."""
    has = np.any([samples.has(name) for name in card.modalities if modality_of(name) == modality], axis=0)
    rows = np.flatnonzero(has)
    ids = samples.ids
    return np.sort(rows[choose_places([ids[row] for row in rows], config.evaluate.robustness_rows)])


@dataclass(frozen=True)
class _Curves:
    """The curves of one modality."""

    candidate: MediaModel
    columns: Columns
    measured: Measured
    modality: Modality
    rows: Indices
    """(n,) positions among the test rows."""
    store: Store

    def draw(self, names: list[str], champion: PreparedChampion | None) -> list[RobustnessCurve]:
        """One for each corruption."""
        levels = [(name, severity) for name in names for severity in SEVERITIES]
        theirs = self._champion(champion) if champion is not None else {}
        clean = self._part(self.measured.scored.take(self.rows), None, {})
        found: dict[str, list[PartFigures]] = {name: [clean] for name in names}
        samples, config = self.columns.samples.take(self.rows), self.measured.config
        outputs = self.candidate.outputs(samples, self.modality, levels, config, self.store)
        for done, (level, given) in enumerate(outputs, start=1):
            scored = Columns(samples, self.candidate.card, self.columns.labels).scorer(given)
            found[level[0]].append(self._part(scored, level, theirs))
            progress.report("evaluate", done, len(levels), f"{self.modality}/{level[0]} {level[1]}")
        return [
            RobustnessCurve(corruption=f"{self.modality}/{name}", levels=tuple(parts)) for name, parts in found.items()
        ]

    def _rules(self, level: Level | None) -> list[Rule]:
        if level is None:
            return []
        of = (f"{self.modality}/{level[0]}", level[1])
        return [rule for rule in self.measured.config.gate.rules if (rule.corruption, rule.severity) == of]

    def _part(self, scored: AnyScorer, level: Level | None, theirs: Mapping[Level, AnyScorer]) -> PartFigures:
        rules, seed, numbers = self._rules(level), self.measured.seed, self.measured.clusters
        confidences = {rule.confidence for rule in rules if rule.confidence and rule.max_drop is None}
        clusters = None if numbers is None else clusters_of(self.rows, numbers)
        found = measure(scored, clusters, confidences | {CONFIDENCE}, seed)
        beside = self.measured.beside
        if level is None or beside is None or level not in theirs:
            return found
        drops = {rule.confidence or CONFIDENCE for rule in rules if rule.max_drop is not None}
        shared = np.flatnonzero(np.isin(self.rows, beside.chosen))
        places = np.flatnonzero(np.isin(beside.chosen, self.rows))
        of_shared = None if beside.clusters is None else clusters_of(places, beside.clusters)
        reference = hold_against(scored.take(shared), theirs[level], of_shared, drops, seed)
        return found.model_copy(update={"reference": reference})

    def _champion(self, champion: PreparedChampion) -> dict[Level, AnyScorer]:
        """Its answers at the levels that a rule compares, on those of the rows that both can be compared on."""
        levels = [
            (name, severity)
            for name in MODALITIES[self.modality].corruptions
            for severity in SEVERITIES
            if any(rule.max_drop is not None for rule in self._rules((name, severity)))
        ]
        beside = self.measured.beside
        if not levels or beside is None:
            return {}
        samples = self.columns.samples.take(self.rows[np.isin(self.rows, beside.chosen)])
        card = read_card(self.store.path(champion.champion.uri))
        model = MediaModel(champion.champion.uri, card, champion.valid, champion.features)
        same = _same_rows(Samples.read(self.store.path(champion.valid.uri)), samples)
        answers = Columns(samples, card, self.columns.labels)
        outputs = model.outputs(same, self.modality, levels, self.measured.config, self.store)
        return {level: answers.scorer(given) for level, given in outputs}


def _same_rows(theirs: Samples, ours: Samples) -> Samples:
    """The rows of the same ids, in our order, as another model reads them."""
    places = {name: place for place, name in enumerate(theirs.ids)}
    return theirs.take([places[name] for name in ours.ids])


def _corrupt(media: Media, ids: list[str], name: InputName, level: Level, seed: int) -> Media:
    """(N,) each as its row's id and the seed have it, whatever the other rows are."""
    spec, found = MODALITIES[modality_of(name)], []
    for medium, row in zip(media, ids, strict=True):
        text = "\0".join((str(seed), name, *map(str, level), row))
        rng = np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8]))
        found.append(None if medium is None else (spec.corrupt(*medium, *level, rng), medium[1]))
    return found
