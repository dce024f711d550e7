"""A model in memory that says what its answers to rows rest on: what a study, `predict --explain` and a server ask alike."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from data_contracts.explanations import Attribution, Explanation, RowShapley
from data_contracts.modalities import modality_of
from data_contracts.refs import InputName, Modality
from tasks.encoder_ids import BUILT_IN
from tasks.explain.attributions import Found, attribute
from tasks.explain.checks import require_few
from tasks.explain.encoded import Encoded, FusionOnly, ScaledFeatures, one_thread
from tasks.explain.questions import Question
from tasks.explain.readings import Reading, read_input
from tasks.explain.shapley import coalitions, shapley_values
from tasks.modalities import spec_of
from tasks.modeling.card import ModelCard
from tasks.modeling.encoder_base import Standardised
from tasks.modeling.encoder_spec import EncoderSpec
from tasks.modeling.fusion.classifier import FusedClassifier, Present

Floats = NDArray[np.float64]
LINES = 16
"""Versions of an input in memory at a time."""


@dataclass(frozen=True)
class MediaRow:
    """One row as its media, and as its encoders' preparers make them."""

    media: Mapping[InputName, Any]
    features: Mapping[InputName, np.ndarray]


@dataclass(frozen=True)
class Shapley:
    """Of N rows and K inputs."""

    places: NDArray[np.int64]
    """(N,) the output that is explained."""
    value: Floats
    """(N,) of it."""
    base: Floats
    """(N,) with every input missing."""
    values: Floats
    """(N, K)"""
    toward_truth: Floats
    """(N, K), NaN where the truth is not known."""


class Explainer:
    """A model with the encoders that it reads through, frozen ones, too. It changes nothing of the model."""

    def __init__(
        self,
        model: FusedClassifier,
        card: ModelCard,
        specs: Mapping[Modality, EncoderSpec],
        label: str | None = None,
        n_steps: int = 32,
    ) -> None:
        """`specs` are the card's, under ids where their files lie. UsageError for a label that the model does not know, or
        more inputs than have exact Shapley values."""
        require_few(card)
        self.model, self.card, self.specs, self.n_steps = model.eval(), card, specs, n_steps
        self.question = Question(card, model.targets, label)
        self.fusion = FusionOnly(model)
        self._frozen: dict[Modality, nn.Module] = {}

    # -- by input ---

    def shapley(self, encoded: Encoded, truth: NDArray[np.float64] | None = None) -> Shapley:
        """Exact values of all rows' inputs; `truth` as of Question."""
        members = coalitions(len(self.model.modalities))
        answers = [self.fusion.outputs(encoded, kept.tolist()) for kept in members]
        places = self.question.places(answers[-1])
        chosen = np.stack([each[np.arange(encoded.rows), places] for each in answers])
        toward = np.full((encoded.rows, members.shape[1]), np.nan)
        if truth is not None:
            toward = shapley_values(np.stack([self.question.rightness(each, truth) for each in answers]))
        return Shapley(places, chosen[-1], chosen[0], shapley_values(chosen), toward)

    def rows_of(self, found: Shapley, encoded: Encoded, ids: Sequence[str]) -> list[RowShapley]:
        """The same by row; inputs that a row lacks are left out, as they add nothing."""
        names, outputs = self.model.modalities, self.question.names()
        rows = []
        for row, name in enumerate(ids):
            there = [place for place, each in enumerate(names) if encoded.present[each][row]]
            right = found.toward_truth[row]
            rows.append(
                RowShapley(
                    id=name,
                    output=outputs[found.places[row]],
                    value=float(found.value[row]),
                    base=float(found.base[row]),
                    shapley={names[place]: float(found.values[row, place]) for place in there},
                    toward_truth=None
                    if np.isnan(right).any()
                    else {names[place]: float(right[place]) for place in there},
                )
            )
        return rows

    # -- by part ---

    def encoder_of(self, name: InputName) -> nn.Module:
        """What looks at an input's features: the model's own encoder, or the frozen one that made its embeddings."""
        spec = self.specs[modality_of(name)]
        if spec.reads == "inputs":
            return self.model.encoder_of(name)
        from tasks.modeling.pretrained.weights import frozen_encoder

        modality = modality_of(name)
        own = self.model.encoders[name]
        if isinstance(own, Standardised):
            return ScaledFeatures(frozen_encoder(modality, spec), own)
        if (
            modality not in self._frozen
        ):  # a copy: captum hooks into layers, and others look through the original meanwhile
            self._frozen[modality] = copy.deepcopy(frozen_encoder(modality, spec))
        return self._frozen[modality]

    def encode(self, row: MediaRow) -> Encoded:
        """The row as its encoders see it."""
        vectors: dict[InputName, Tensor] = {}
        with torch.no_grad(), one_thread():
            for name, feature in row.features.items():
                values = spec_of(name).to_model(torch.from_numpy(np.array(feature))[None])
                vectors[name] = self.encoder_of(name)(values, torch.tensor([values.shape[1]])).float()
        present = {name: np.array([name in vectors]) for name in self.model.modalities}
        return Encoded({name: vectors.get(name, torch.zeros(1, 1)) for name in self.model.modalities}, present)

    def read(self, row: MediaRow, name: InputName) -> Reading:
        """One input of a row, in parts."""
        spec = self.specs[modality_of(name)]
        return read_input(name, row.features[name], row.media.get(name), spec, self.encoder_of(name))

    def attribute(self, row: MediaRow, name: InputName, encoded: Encoded, place: int) -> tuple[Reading, Found]:
        """What the parts of one input add to the output at `place`; the row's other inputs stay as they are."""
        reading = self.read(row, name)

        def score(values: Tensor) -> Tensor:
            """(B, ...) -> (B,)"""
            return self.question.score(self._logits(reading, values, encoded), place)

        with one_thread():
            found = attribute(reading, self.encoder_of(name), score, self.question.is_numeric, self.n_steps)
        if reading.form != "spectrogram":
            return reading, found
        seconds = self._seconds(reading)
        return reading, replace(found, attribution=found.attribution.model_copy(update={"seconds": seconds}))

    def _seconds(self, reading: Reading) -> float:
        """How much of a sound an encoder reads: frames of a spectrogram, or samples."""
        spec = self.specs[modality_of(reading.name)]
        if spec.encoder in BUILT_IN:
            return float(reading.values.shape[1] * self.card.config.extract.hop_ms / 1000)
        return float(reading.values.shape[1] / spec.settings["rate_hz"])

    def scores_without(self, reading: Reading, taken: NDArray[np.bool_], encoded: Encoded, place: int) -> Floats:
        """(B,) what the parts add up to, for each line of `taken` (B, parts), True for parts that give way to the baseline."""
        with torch.no_grad(), one_thread():
            found = [
                self.question.score(self._logits(reading, reading.without(some), encoded), place)
                for some in torch.split(torch.from_numpy(taken), LINES)
            ]
            return torch.cat(found).double().numpy()

    def _logits(self, reading: Reading, values: Tensor, encoded: Encoded) -> Tensor:
        """(B, outputs) for B versions of one input of the row."""
        size = len(values)
        vectors = self.encoder_of(reading.name)(values, reading.lengths.expand(size))
        rows, one = torch.arange(size), torch.ones(size, dtype=torch.int64)
        batch = {
            name: Present(rows, encoded.vectors[name].expand(size, -1), one)
            for name in self.model.modalities
            if encoded.present[name][0]
        } | {reading.name: Present(rows, vectors, one)}
        ordered = {name: batch[name] for name in self.model.modalities if name in batch}
        return self.fusion.model(ordered, size).logits  # type: ignore[no-any-return]

    def tell(self, row: MediaRow) -> Explanation:
        """All of what one row's answer rests on."""
        encoded, attributions = self.explain_row(row, None)
        (found,) = self.rows_of(self.shapley(encoded), encoded, [""])
        total = sum(map(abs, found.shapley.values())) or 1.0
        return Explanation(
            output=found.output,
            value=found.value,
            base=found.base,
            shapley=found.shapley,
            shares={name: abs(value) / total for name, value in found.shapley.items()},
            attributions=attributions,
        )

    def explain_row(
        self, row: MediaRow, inputs: Sequence[InputName] | None, place: int | None = None
    ) -> tuple[Encoded, tuple[Attribution, ...]]:
        """What the parts of a row's inputs add to its explained output."""
        encoded = self.encode(row)
        if place is None:
            place = int(self.question.places(self.fusion.outputs(encoded))[0])
        names = [name for name in row.features if inputs is None or name in inputs]
        return encoded, tuple(self.attribute(row, name, encoded, place)[1].attribution for name in names)
