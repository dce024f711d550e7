"""What a trained model loses on the validation rows when inputs are left out: test rows take no part in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from data_contracts.compression import InputLoss
from data_contracts.modalities import modality_of
from data_contracts.refs import CheckpointRef, FeatureRef, InputName, ValidatedRef
from tasks.evaluate.scorers import make_scorer
from tasks.modeling.card import read_card
from tasks.problems.metric import Probabilities
from tasks.problems.registry import get_metric
from tasks.problems.scoring import AnyScorer
from tasks.samples import Samples
from tasks.store import Store


@dataclass(frozen=True)
class Loss:
    """What an input may be worth and be left out all the same, as the gate has it."""

    metric: str
    margin: float
    """In the metric's unit; where the gate's is relative, a share of the model's own figure."""
    confidence: float
    seed: int


def find_unused_inputs(
    valid: ValidatedRef,
    features: dict[InputName, FeatureRef],
    checkpoint: CheckpointRef,
    loss: Loss,
    store: Store,
) -> tuple[InputLoss, ...]:
    """Modalities in the order in which they were tried to be left out, by what that costs; the last ones stay.

    One is left out where the interval of the loss, paired on the same rows, rules out the margin; of several the one that
    costs least, then the same of the others. One always stays. All inputs of a modality go together.
    """
    from tasks.modeling.inference import predict_probabilities
    from tasks.modeling.package import load_model

    folder = store.path(checkpoint.uri)
    card, model = read_card(folder), load_model(folder)
    samples = Samples.read(store.path(valid.uri)).of_split("val")
    metric = get_metric(loss.metric)
    sign = -1.0 if metric.lower_is_better else 1.0

    def score_with(present: Sequence[InputName]) -> AnyScorer:
        """The model given only these inputs."""
        outputs: Probabilities = predict_probabilities(model, samples, features, store, present=tuple(present))
        return make_scorer(card, 0, outputs, samples.targets(0, ""), card.label_targets[0].labels)[0]

    kept, whole, found = list(checkpoint.modalities), score_with(checkpoint.modalities), list[InputLoss]()
    own = whole.score().get(loss.metric)
    margin = loss.margin * abs(own) if metric.margin_is_relative and own is not None else loss.margin
    while len(samples) and len({modality_of(name) for name in kept}) > 1:
        tried: list[InputLoss] = []
        for modality in dict.fromkeys(map(modality_of, kept)):
            rest = [name for name in kept if modality_of(name) != modality]
            difference = score_with(rest).differences(whole, loss.seed, loss.confidence).get(loss.metric)
            tried.append(InputLoss(input=modality, difference=difference, rows=len(samples), left_out=False))
        known = [each for each in tried if each.difference is not None]
        best = max(known, key=lambda each: sign * (each.difference or (0.0,))[0], default=None)
        if best is None or best.difference is None:
            return (*found, *tried)
        low = best.difference[1] if sign > 0 else -best.difference[2]
        if low <= -margin:
            return (*found, *tried)
        found.append(best.model_copy(update={"left_out": True}))
        kept = [name for name in kept if modality_of(name) != best.input]
    return tuple(found)
