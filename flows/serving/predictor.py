"""One model in memory: rows are decoded in isolated processes, become features, and are answered in batches.

The same code as the pipeline's decodes, prepares, embeds and decides; only the store between its stages is left out.
"""

from __future__ import annotations

import copy
import functools
import hashlib
import json
import os
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from data_contracts.explanations import Explanation
from data_contracts.modalities import modality_of
from data_contracts.refs import ChampionRef, InputName, Modality
from flows.champion import champion_config
from flows.request import Request
from flows.serving.prediction import Prediction, Refusal, RowsRefused
from flows.serving.row_media import RowMedia
from tasks.extract.extract import encoder_reading
from tasks.media.canonical import Undecodable
from tasks.media.pool import Decoded, Decoders, Job, Outcome
from tasks.modalities import Dtype, Medium, Prepare, joined, spec_of
from tasks.modeling.card import ModelCard
from tasks.modeling.encoder_spec import EncoderSpec

if TYPE_CHECKING:
    from tasks.explain.explainer import Explainer
    from tasks.modeling.encoder_threads import EncoderThreads
    from tasks.modeling.features import Inputs

Row = Mapping[str, Any]
"""Input to its value; see RowMedia."""
DECODERS = 4
"""Decoding processes at most, each of some 150 MB; no more than there are cores."""
THREADS = 1
"""Of each layer of the network. A row is little work, and two threads wait for each other at every layer: on a busy machine of
two cores one row took 600 ms on two threads and 7 on one. The last bits may differ from those of `crossmodal predict`."""
_CHUNK = 64


@dataclass(frozen=True)
class PreparedRow:
    """What the encoders read of one row."""

    features: Mapping[InputName, np.ndarray]
    texts: Mapping[InputName, str] = field(default_factory=dict)
    """As they were read: an explanation names their words."""


class _Medium(NamedTuple):
    """A value of a row, as bytes."""

    row: int
    input: InputName
    data: bytes
    lent: bool
    """Another input's file: the sound of a clip."""


class _Read(NamedTuple):
    """A medium in its canonical form, and what its encoder reads."""

    medium: Medium
    feature: np.ndarray


class Predictor:
    """A model that answers rows; safe among threads. `close` ends its decoding processes, as does its end."""

    def __init__(self, champion: ChampionRef, card: ModelCard, request: Request, decoders: int | None = None) -> None:
        """Loads it. Raises EnvironmentFailed or DataError where it cannot be."""
        from tasks.modeling.package import load_model
        from tasks.modeling.pretrained.fuse_conv_bn import fold_norms

        config = champion_config(champion, card, request)
        self.name, self.version, self.card = champion.name, champion.version, card
        self._model = load_model(request.store.path(champion.uri), card, champion.model_sha256)
        fold_norms(self._model)
        self._media = RowMedia(card, config.media)
        self._readings: dict[Modality, tuple[EncoderSpec, Prepare, Dtype]] = {
            modality: encoder_reading(modality, config) for modality in map(modality_of, card.modalities)
        }
        self._decoders = Decoders(
            config.media.model_dump(mode="json"), decoders or max(1, min(DECODERS, os.cpu_count() or 1))
        )
        self._answering = threading.Lock()
        self._explaining = threading.Lock()
        """Held before the other one, where both are."""
        self.close = weakref.finalize(self, self._decoders.close)

    @property
    def columns(self) -> list[str]:
        """Every name under which a row may give something."""
        return self._media.columns

    def warm_up(self) -> None:
        """Its processes run, and its network has answered once: the first row takes no longer than others."""
        self._decoders.start()
        list(self.outcomes([{name: spec_of(name).example() for name in self.card.modalities}]))

    def predict(self, rows: Sequence[Row], explain: bool = False) -> list[Prediction]:
        """An answer for each row, in their order, with what it rests on if asked. Raises RowsRefused where one has none."""
        found = list(self._explained(rows) if explain else self.outcomes(rows))
        refused = [outcome for outcome in found if isinstance(outcome, Refusal)]
        if refused:
            raise RowsRefused(refused, len(rows))
        return [outcome for outcome in found if isinstance(outcome, Prediction)]

    def outcomes(self, rows: Sequence[Row]) -> Iterator[Prediction | Refusal]:
        """Yields for each row, in their order, the answer, or why there is none; some rows are in memory at a time."""
        for start in range(0, len(rows), _CHUNK):
            prepared = self.prepare(rows[start : start + _CHUNK], start)
            answers = iter(self.answer([row for row in prepared if isinstance(row, PreparedRow)]))
            yield from (row if isinstance(row, Refusal) else next(answers) for row in prepared)

    def _explained(self, rows: Sequence[Row]) -> Iterator[Prediction | Refusal]:
        """As `outcomes`; from the first rows on of which one is refused nothing is answered any more."""
        any_refused = False
        for start in range(0, len(rows), _CHUNK):
            prepared = self.prepare(rows[start : start + _CHUNK], start)
            refused = [row for row in prepared if isinstance(row, Refusal)]
            yield from refused
            any_refused = any_refused or bool(refused)
            if not any_refused:
                ready = [row for row in prepared if isinstance(row, PreparedRow)]
                for answer, why in zip(self.answer(ready), self.explain(ready), strict=True):
                    yield answer.model_copy(update={"explanation": why})

    def prepare(self, rows: Sequence[Row], first: int = 0) -> list[PreparedRow | Refusal]:
        """What the encoders read of each row, or why it cannot be answered; `first` is the place of the first one."""
        refused: dict[int, Refusal] = {}
        media: list[_Medium] = []
        for number, row in enumerate(rows):
            for name, data, lent in self._read(row):
                if isinstance(data, Undecodable):
                    refused.setdefault(
                        number, Refusal(row=first + number, input=name, reason=data.reason, detail=data.detail)
                    )
                else:
                    media.append(_Medium(number, name, data, lent))
        features: list[dict[InputName, np.ndarray]] = [{} for _ in rows]
        texts: list[dict[InputName, str]] = [{} for _ in rows]
        for medium, outcome in self._decoded(media):
            number, name = medium.row, medium.input
            if isinstance(outcome, _Read):
                features[number][name] = outcome.feature
                if isinstance(outcome.medium, str):
                    texts[number][name] = outcome.medium
                continue
            reason = outcome.get("reason")
            if not (medium.lent and reason == "no-sound"):  # a silent clip: no audio is missing, not broken
                detail = str(outcome.get("detail", ""))
                refused.setdefault(number, Refusal(row=first + number, input=name, reason=str(reason), detail=detail))
        for number, found in enumerate(features):
            if not found and number not in refused:
                empty = f"all of {', '.join(self.columns)} are empty"
                refused[number] = Refusal(row=first + number, input=None, reason="no-modality", detail=empty)
        return [
            refused.get(number) or PreparedRow(*found) for number, found in enumerate(zip(features, texts, strict=True))
        ]

    def answer(self, rows: Sequence[PreparedRow]) -> list[Prediction]:
        """The answers to prepared rows, in one batch."""
        from tasks.modeling.assessment import assess_rows
        from tasks.modeling.decision import answer_column, answer_others, output_names
        from tasks.modeling.features import Inputs
        from tasks.modeling.inference import energies_of, to_outputs

        if not rows:
            return []
        with self._answering:
            tables, places = {}, {}
            for name in self.card.modalities:
                here = [number for number, row in enumerate(rows) if name in row.features]
                if here:
                    arrays = self._embedded(name, [rows[number].features[name] for number in here])
                    tables[name], places[name] = _table(name, arrays), np.full(len(rows), -1)
                    places[name][here] = np.arange(len(here))
            logits = self._logits(Inputs(tables, places, len(rows)))
        outputs = to_outputs(self._model, logits)
        present = [joined([name for name in self.card.modalities if name in row.features]) for row in rows]
        assessed = assess_rows(self.card, outputs, present, energies_of(self._model, logits))
        labels, probability = answer_column(self.card, 0, outputs)
        names = output_names(self.card)
        return [
            Prediction(
                label=labels[number],
                probability=None if probability is None else float(probability[number]),
                probabilities=dict(zip(names, outputs[number].tolist(), strict=True)),
                targets={} if others is None else json.loads(others),
                **vars(assessed[number]),
                modalities=tuple(name for name in self.card.modalities if name in row.features),
                model=self.name,
                version=self.version,
            )
            for number, (row, others) in enumerate(zip(rows, answer_others(self.card, outputs), strict=True))
        ]

    def _logits(self, inputs: Inputs) -> np.ndarray:
        """(N, outputs) what the network gives out, by a thread that has THREADS for torch: this one, or one that keeps them.

        To change their number has torch prepare every convolution anew, and to change it back does so again.
        """
        import torch

        from tasks.modeling.inference import predict_logits

        run = functools.partial(predict_logits, self._model, inputs, threads=THREADS, encode=self._encoders.encode)
        if torch.get_num_threads() == THREADS:
            return run()
        return self._apart.submit(run).result()

    @cached_property
    def _encoders(self) -> EncoderThreads:
        from tasks.modeling.encoder_threads import EncoderThreads

        return EncoderThreads(self._model)

    @cached_property
    def _apart(self) -> ThreadPoolExecutor:
        from tasks.modeling.encoder_threads import one_thread

        return one_thread("network")

    def explain(self, rows: Sequence[PreparedRow]) -> list[Explanation]:
        """What the answers to prepared rows rest on; one row after another."""
        from tasks.explain.explainer import MediaRow

        with self._explaining:
            return [self._explainer.tell(MediaRow(row.texts, row.features)) for row in rows]

    @cached_property
    def _explainer(self) -> Explainer:
        """With a model of its own: captum hooks into layers, and others are answered meanwhile."""
        from tasks.explain.explainer import Explainer

        specs = {modality: spec for modality, (spec, _, _) in self._readings.items()}
        own = {modality_of(name): spec for name, spec in self.card.encoders.items() if spec.encoder == "tiny"}
        with self._answering:
            model = copy.deepcopy(self._model)
        return Explainer(model, self.card, specs | own)

    def features(self, rows: Sequence[Row]) -> list[dict[InputName, np.ndarray] | Refusal]:
        """What the network reads of each row, embeddings of frozen encoders included, or why it cannot be answered."""
        prepared = self.prepare(rows)
        found = [row if isinstance(row, Refusal) else dict(row.features) for row in prepared]
        with self._answering:
            for name in self.card.modalities:
                here = [row for row in found if not isinstance(row, Refusal) and name in row]
                for row, array in zip(here, self._embedded(name, [row[name] for row in here]), strict=True):
                    row[name] = array
        return found

    def _read(self, row: Row) -> Iterator[tuple[str, Any, bool]]:
        yield from ((name, error, False) for name, error in self._media.unknown(row))
        yield from self._media.read(row)

    def _decoded(self, media: Sequence[_Medium]) -> Iterator[tuple[_Medium, _Read | Outcome]]:
        """Each medium, in their order, with what is read of it, or why nothing is.

        The largest are decoded first: what they become is computed while the others are.
        """
        order = sorted(range(len(media)), key=lambda number: -len(media[number].data))
        jobs = [
            Job(
                modality_of(media[number].input),
                hashlib.sha256(media[number].data).hexdigest(),
                inline=media[number].data,
            )
            for number in order
        ]
        found = self._decoders.decode(
            jobs, lambda number, outcome: self._read_medium(media[order[number]].input, outcome)
        )
        outcomes = dict(zip(order, found, strict=True))
        return ((medium, outcomes[number]) for number, medium in enumerate(media))

    def _read_medium(self, name: InputName, decoded: Decoded) -> _Read | Outcome:
        if decoded.header.get("reason") is not None:
            return decoded.header
        medium = spec_of(name).restore(decoded.data, decoded.header["shape"])
        spec, prepare, dtype = self._readings[modality_of(name)]
        prepared = prepare(medium, decoded.header.get("rate_hz") or 0)
        return _Read(medium, prepared if spec.reads == "embedding" else np.ascontiguousarray(prepared, dtype))

    def _embedded(self, name: InputName, arrays: list[np.ndarray]) -> list[np.ndarray]:
        """What the network reads: the inputs themselves, or of a frozen encoder the vectors that it makes of them."""
        spec, _, _ = self._readings[modality_of(name)]
        if spec.reads != "embedding":
            return arrays
        from tasks.modeling.embed import embed

        vectors = dict(embed(modality_of(name), spec, ((str(number), array) for number, array in enumerate(arrays))))
        return [vectors[str(number)] for number in range(len(arrays))]


def _table(name: InputName, arrays: Sequence[np.ndarray]) -> Any:
    from tasks.modeling.features import FeatureTable

    lengths = np.array([len(array) for array in arrays], np.int64)
    return FeatureTable(name, pa.array([], pa.string()), np.cumsum(lengths) - lengths, lengths, np.concatenate(arrays))
