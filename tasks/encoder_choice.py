"""encoders.KIND = auto: which encoders are tried, which is kept, and what a person is told of it. Imports no torch.

As with `encoders.test_time_flip`, what costs more must lower the validation loss by more than chance would: few validation rows
tell models apart badly, and a head on features that are computed once is trained in seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from data_contracts.encoder_choice import ComparedEncoders, EncoderChoice, PairedLosses
from data_contracts.modalities import ALL_MODALITIES, modality_of
from data_contracts.refs import CheckpointRef, InputName, Modality
from data_contracts.training_history import TrainingHistory
from tasks.config import RunConfig
from tasks.encoder_ids import AUTO, BLEND, BUILT_IN, encoder_reads
from tasks.problems.registry import figure_text, validation_keys

Encoders = Mapping[Modality, str]
MOST_ROWS = 50_000
"""Of all splits, up to which `classical` is tried: its vectors of so many take 0.8 GB of memory for a column of texts, 0.5 for
clips, 0.2 for pictures."""
STANDARD_ERRORS = 2.0
"""Of the difference of the losses, paired by row: by more of them must a trained network be better (as a test_time_flip)."""


def open_modalities(config: RunConfig) -> tuple[Modality, ...]:
    """Those whose encoder the config leaves to the validation rows."""
    return tuple(kind for kind in ALL_MODALITIES if config.encoders.of(kind) == AUTO)


def with_encoders(config: RunConfig, encoders: Encoders) -> RunConfig:
    """The config with these encoders in the place of those of before; a blend reads what its networks read."""
    read = {str(kind): BUILT_IN[0] if name == BLEND else name for kind, name in encoders.items()}
    return config.model_copy(update={"encoders": config.encoders.model_copy(update=read)})


def blends(config: RunConfig) -> bool:
    """Whether the answers of the models that are tried may be blended: not where each begins with other weights, or chooses by
    itself whether it looks at mirror images."""
    return config.train.continue_from == "none" and config.encoders.test_time_flip != "auto"


def blended(tried: Iterable[Encoders]) -> dict[Modality, str]:
    """What the blend of models with these encoders is called."""
    first, *others = tried
    return {kind: BLEND if any(one[kind] != name for one in others) else name for kind, name in first.items()}


def is_blend(encoders: Encoders) -> bool:
    """Whether these are of a blend."""
    return BLEND in encoders.values()


def encoders_to_try(config: RunConfig, inputs: Iterable[InputName], rows: int) -> list[dict[Modality, str]]:
    """One encoder for all modalities that are open, the networks first; they alone where there is nothing to choose."""
    kinds = open_modalities(config)
    if not _open_inputs(config, inputs) or why_no_choice(config, inputs, rows):
        return [dict.fromkeys(kinds, BUILT_IN[0])]
    return [_with_absent(dict.fromkeys(kinds, encoder), inputs) for encoder in BUILT_IN]


def _open_inputs(config: RunConfig, inputs: Iterable[InputName]) -> list[Modality]:
    present = set(map(modality_of, inputs))
    return [kind for kind in open_modalities(config) if kind in present]


def why_no_choice(config: RunConfig, inputs: Iterable[InputName], rows: int) -> str:
    """Why the encoders that are open are `tiny` without a choice, a sentence; empty: they are chosen, or the rows have none.

    `classical` features cannot be trained, a second training of another network costs more than a choice is worth, and features
    of very many rows fill the memory.
    """
    kinds, train = _open_inputs(config, inputs), config.train
    trained = [
        f"encoders.{kind}={encoder}"
        for kind in dict.fromkeys(map(modality_of, inputs))
        if (encoder := config.encoders.of(kind)) not in ("off", AUTO, *BUILT_IN)
        and encoder_reads(encoder, kind, train.regime) == "inputs"
    ]
    reasons = (
        (train.regime not in ("auto", "head"), f"train.regime={train.regime} trains encoders"),
        (bool(trained), f"{' and '.join(trained)} would be trained twice"),
        (
            train.max_tokens is not None and "text" in kinds,
            "train.max_tokens needs texts that an encoder is trained on",
        ),
        (rows > MOST_ROWS, f"of {rows:,} rows, more than {MOST_ROWS:,}, classical features would fill the memory"),
    )
    why = next((text for is_so, text in reasons if is_so), "")
    if not kinds or not why:
        return ""
    asked = ", ".join(f"encoders.{kind}" for kind in kinds)
    return f"{asked} = {AUTO}: {BUILT_IN[0]}, without trying {BUILT_IN[1]}, as {why}"


def _with_absent(encoders: Encoders, inputs: Iterable[InputName]) -> dict[Modality, str]:
    """What the rows do not have gets the default: it is no matter, and so equal settings have equal cards."""
    present = set(map(modality_of, inputs))
    return {kind: encoder if kind in present else BUILT_IN[0] for kind, encoder in encoders.items()}


def differing(one: Encoders, other: Encoders) -> tuple[Modality, ...]:
    """Of two choices that differ in several modalities, these: each of them is looked at by itself."""
    kinds = tuple(kind for kind in one if one[kind] != other[kind])
    return kinds if len(kinds) > 1 else ()


def mixed_encoders(tried: Encoders, losses: Mapping[Modality, Mapping[str, float]]) -> dict[Modality, str] | None:
    """Of each modality the encoder with the lower validation loss by itself; None where that is the same one for all."""
    best = {kind: min(found, key=lambda encoder: found[encoder]) for kind, found in losses.items()}
    return None if len(set(best.values())) < 2 else {**tried, **best}


def compare(encoders: Encoders, checkpoint: CheckpointRef, history: TrainingHistory) -> ComparedEncoders:
    """What a training reached on the validation rows."""
    best = next(epoch for epoch in history.epochs if epoch.epoch == history.best_epoch)
    figures = {name: value for name, value in (best.model_extra or {}).items() if value is not None}
    return ComparedEncoders(
        encoders=dict(encoders),
        uri=checkpoint.uri,
        figures={name: value for name, value in figures.items() if name in validation_keys()},
        epochs=sum(head.epochs for head in history.heads) or len(history.epochs),
        seconds=round(sum(one.seconds for one in (history.heads or history.epochs)), 3),
    )


def compare_blend(encoders: Encoders, checkpoint: CheckpointRef, history: TrainingHistory) -> ComparedEncoders:
    """What a blend reaches on them, before it is compared."""
    return ComparedEncoders(encoders=dict(encoders), uri=checkpoint.uri, figures=history.reached)


def cheapest_first(known: Iterable[ComparedEncoders]) -> list[ComparedEncoders]:
    """Those with the fewest networks to train first; a blend is not among what is judged so."""
    return sorted(known, key=lambda one: sum(encoder != "classical" for encoder in one.encoders.values()))


def is_better(paired: PairedLosses) -> bool:
    """Whether the second model's loss is lower than the first's by more than chance; at all, where nothing tells that."""
    gain = paired.losses[0] - paired.losses[1]
    return gain > STANDARD_ERRORS * (paired.standard_error or 0.0)


def name_encoders(encoders: Encoders, among: Iterable[Modality]) -> str:
    """`classical`, or where modalities differ `classical of image, tiny of text`."""
    kinds = [kind for kind in among if kind in encoders]
    if not kinds:
        return ""
    if len({encoders[kind] for kind in kinds}) == 1:
        return encoders[kinds[0]]
    return ", ".join(f"{encoders[kind]} of {kind}" for kind in kinds)


def describe_choice(choice: EncoderChoice) -> str:
    """Which encoders were chosen, with the figures of all, or why none was, as one line; empty where the rows have none."""
    if not choice.compared:
        return choice.why
    kinds = compared_kinds(choice)
    ordered = sorted(choice.compared, key=lambda one: not one.chosen)
    best, *others = (f"{name_encoders(one.encoders, kinds)} {_figures(one)}" for one in ordered)
    return f"encoders.{', encoders.'.join(kinds)} = auto: the validation rows chose {best}, before {'; '.join(others)}"


def compared_kinds(choice: EncoderChoice) -> list[Modality]:
    """The modalities in which the encoders that were compared differ."""
    return [kind for kind in choice.encoders if len({one.encoders.get(kind) for one in choice.compared}) > 1]


def _figures(one: ComparedEncoders) -> str:
    if one.why:
        return f"(not trained: {one.why})"
    shown = [] if one.loss is None else [f"loss {one.loss:.4f}"]
    shown += [
        f"{name.removeprefix('val_').replace('_', ' ')} {figure_text(value, name.removeprefix('val_'), decimals=4)}"
        for name, value in one.figures.items()
    ]
    if one.epochs:
        shown.append(f"{one.seconds:.0f} s")
    if one.difference is not None:
        error = "unknown" if one.standard_error is None else f"{one.standard_error:.4f}"
        shown.append(f"difference {one.difference:+.4f}, standard error {error}")
    return f"({', '.join(shown)})"


def named_provisionally(config: RunConfig) -> RunConfig:
    """The config with `tiny` in the place of what is open: for checks before the rows are read."""
    return with_encoders(config, dict.fromkeys(open_modalities(config), BUILT_IN[0]))
