"""Training that starts from the champion (train.continue_from): its weights as the start, its own rows as the replay."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from data_contracts.refs import ChampionRef
from data_contracts.training_history import WarmStartRecord
from tasks.config import RunConfig
from tasks.errors import EnvironmentFailed
from tasks.modeling.card import ModelCard, read_card
from tasks.modeling.fusion.blended import first_member
from tasks.modeling.fusion.classifier import FusedClassifier
from tasks.modeling.packed_weights import unpack_weights
from tasks.modeling.training_rows import are_known, compare_train_rows, read_rows
from tasks.problems.registry import problem_of
from tasks.progress import note
from tasks.samples import Samples
from tasks.store import Store, canonical_json

NAMES_SHOWN = 6


@dataclass
class WarmStart:
    """Where a training run begins."""

    samples: Samples
    """The train and val rows that are left to train on."""
    record: WarmStartRecord | None = None
    """For history.json; None where training does not start from a champion. `transfer_weights` adds to it."""
    champion: Path | None = None
    """The folder of the model whose weights are the start."""


@dataclass
class TransferredWeights:
    """Names of the model's tensors by what became of them."""

    whole: list[str] = field(default_factory=list)
    partly: list[str] = field(default_factory=list)
    """Of those with one row per output, the rows of outputs that the champion knows."""
    fresh: list[str] = field(default_factory=list)


def begin(champion: ChampionRef | None, samples: Samples, config: RunConfig, store: Store) -> WarmStart:
    """The rows to train on, and the champion to start from; under auto all rows, as both starts are to be compared."""
    if config.train.continue_from == "none" or champion is None:
        return WarmStart(samples)
    folder = store.path(champion.uri)
    if config.train.continue_from == "auto":
        changes = compare_train_rows(samples.of_split("train"), folder, read_card(folder).modalities)
        return WarmStart(samples, WarmStartRecord(champion=champion.model_sha256, changes=changes), folder)
    kept, rows, replay_notes = replay(samples, folder, config.train.replay, config.seed)
    record = WarmStartRecord(champion=champion.model_sha256, rows=rows, notes=(replay_notes,))
    return WarmStart(kept, record, folder)


def replay(samples: Samples, folder: Path, share: float, seed: int) -> tuple[Samples, dict[str, int], str]:
    """(rows, counts, note): every new training row, and this share of those that the champion was trained on.

    Which ones is settled by a hash of seed and id, so that a larger share holds the rows of a smaller one. Validation rows
    all stay. Without a new row there is nothing to replay beside, and all rows are kept.
    """
    ids = samples.ids
    training = np.array(samples.splits) == "train"
    known = read_rows(folder)
    old = training & are_known(ids, known["train"])
    new = training & ~old
    drawn = old & np.array([_draw(seed, each) < share for each in ids], bool) if new.any() else old
    rows = {"new": int(new.sum()), "old": int(old.sum()), "replayed": int(drawn.sum())}
    notes = note(f"trained on {rows['new']:,} new rows and {rows['replayed']:,} of the champion's own {rows['old']:,}")
    return samples.where(~training | new | drawn), rows, notes


def transfer_weights(model: FusedClassifier, card: ModelCard, start: WarmStart) -> TransferredWeights:
    """The model holds the champion's weights where name and shape agree, the rest as it was initialised.

    Of tensors with one row per output (heads), the rows are matched by label; a column of numbers that are standardised in
    another way has none to match. What belongs to a modality whose encoder is another one is left as it is. Does nothing
    without a champion. Raises EnvironmentFailed where its weights cannot be read.
    """
    taken = TransferredWeights()
    if start.champion is None or start.record is None:
        return taken
    theirs, weights = read_card(start.champion), _read_weights(start.champion)
    if theirs.blend:  # whose first member is the network; its fusion and its encoders are the card's
        weights = first_member(weights)
    ours, rows = model.state_dict(), _rows_of_outputs(model, card)
    old, new = output_names(theirs), output_names(card)
    restated = _scales(card).items() - _scales(theirs).items()
    pairs = [(new.index(name), old.index(name)) for name in new if name in old and name not in dict(restated)]
    to, of = (torch.tensor(side, dtype=torch.long) for side in (zip(*pairs, strict=True) if pairs else ((), ())))
    strangers = {name for name in card.modalities if _network(card, name) != _network(theirs, name)}
    with torch.no_grad():
        for name, tensor in ours.items():
            found = weights.get(name)
            if found is None or strangers & set(name.split(".")):
                taken.fresh.append(name)
            elif name in rows and found.shape[1:] == tensor.shape[1:] and len(found) == len(old) and pairs:
                tensor[to.to(tensor.device)] = found[of].to(tensor)
                (taken.whole if len(pairs) == len(new) else taken.partly).append(name)
            elif name not in rows and found.shape == tensor.shape:
                tensor.copy_(found)
                taken.whole.append(name)
            else:
                taken.fresh.append(name)
    notes = (*start.record.notes, _describe_transfer(taken, len(pairs), len(new)))
    change = {"taken": len(taken.whole), "partly": tuple(taken.partly), "fresh": tuple(taken.fresh), "notes": notes}
    start.record = start.record.model_copy(update=change)
    return taken


def output_names(card: ModelCard) -> list[tuple[str, str]]:
    """What each output of the model stands for, in order: (label column, label), the first column without its name.

    A column of numbers has one output and no label.
    """
    names = []
    for place, target in enumerate(card.label_targets):
        column = "" if place == 0 else target.name
        names += [(column, output) for output in problem_of(target).outputs_of(target)]
    return names


def _scales(card: ModelCard) -> dict[tuple[str, str], tuple[float, float]]:
    """(mean, deviation) by which the targets of each output are standardised, by its name."""
    scales = [(target.mean, target.std) for target in card.label_targets for _ in problem_of(target).outputs_of(target)]
    return dict(zip(output_names(card), scales, strict=True))


def _network(card: ModelCard, name: str) -> str:
    """An encoder's identity, empty where there is none. By known weights, an id is only a place."""
    spec = card.encoders.get(name)
    if spec is None:
        return ""
    place = set() if spec.weights_sha256 is None else {"encoder"}
    described = spec.model_dump(
        mode="json", exclude={"inputs_sha256", "model_type", "tokenizer_sha256", "test_time_flip", *place}
    )
    return canonical_json(described)


def _rows_of_outputs(model: FusedClassifier, card: ModelCard) -> set[str]:
    """Names of the tensors that have one row per output: those that a model with one more output has larger.

    Found by building that model without storage, so that no coincidence of widths can mislead, whatever the fusion.
    """
    specs = {name: card.encoders[name] for name in card.modalities}
    with torch.device("meta"):
        larger = FusedClassifier(specs, len(output_names(card)) + 1, card.config.fusion, card.shared).state_dict()
    return {
        name for name, tensor in model.state_dict().items() if name in larger and larger[name].shape != tensor.shape
    }


def _read_weights(folder: Path) -> dict[str, Tensor]:
    try:
        return unpack_weights(load_file(folder / "model.safetensors"))
    except (OSError, SafetensorError) as error:
        message = " ".join(str(error).split())[:300]
        raise EnvironmentFailed(
            f"champion {folder}: its weights cannot be read ({message}); roll back, or set train.continue_from = none"
        ) from None


def _describe_transfer(taken: TransferredWeights, matched: int, outputs: int) -> str:
    """One sentence for the report."""
    count = len(taken.whole) + len(taken.partly) + len(taken.fresh)
    message = note(f"started from the champion: {len(taken.whole)} of {count} tensors taken over")
    if taken.partly:
        message += note(f", {len(taken.partly)} for the {matched} of {outputs} classes that it knows")
    if taken.fresh:
        more = "" if len(taken.fresh) <= NAMES_SHOWN else note(f" and {len(taken.fresh) - NAMES_SHOWN} more")
        message += note(f", {len(taken.fresh)} initialised anew ({', '.join(taken.fresh[:NAMES_SHOWN])}{more})")
    return message


def _draw(seed: int, text: str) -> float:
    """A number in [0, 1) that depends only on the seed and the id."""
    digest = hashlib.sha256(f"{seed}:{text}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8]) / 2**64
