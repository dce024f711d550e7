"""The plan of a run that chooses its encoders: of the chosen ones where the store tells them, else of all that it would try."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from data_contracts.encoder_choice import EncoderChoice
from data_contracts.refs import InputName, Modality
from flows.plan_line import PlanLine
from flows.request import Request
from tasks.encoder_choice import (
    blends,
    compared_kinds,
    encoders_to_try,
    name_encoders,
    open_modalities,
    why_no_choice,
    with_encoders,
)
from tasks.encoder_ids import BUILT_IN


def plan_of_open(
    request: Request,
    inputs: Sequence[InputName],
    rows: int,
    known: Callable[[Request], EncoderChoice | None],
    lines: Callable[[Request], list[PlanLine]],
) -> list[PlanLine]:
    """The lines of a plan. `known`: the choice, where all that it rests on is in the store; `lines`: those of a request whose
    encoders are named."""
    tried = encoders_to_try(request.config, inputs, rows)
    if len(tried) == 1:
        why = why_no_choice(request.config, inputs, rows)
        choice: EncoderChoice | None = EncoderChoice(encoders=tried[0], why=why)
    else:
        choice = known(request)
    if choice is not None:
        told = name_encoders(choice.encoders, compared_kinds(choice))
        found = lines(replace(request, config=with_encoders(request.config, choice.encoders)))
        text = f"the validation rows chose {told}" if told else choice.why
        return [_and(line, text) if text and line["stage"] == "train" else line for line in found]
    plans = [lines(replace(request, config=with_encoders(request.config, encoders))) for encoders in tried]
    mixes = (
        not blends(request.config)
        and sum(tried[0][kind] != tried[-1][kind] for kind in open_modalities(request.config)) > 1
    )
    return _merge(plans, open_modalities(request.config), mixes)


def _merge(plans: list[list[PlanLine]], kinds: Sequence[Modality], mixes: bool) -> list[PlanLine]:
    """The lines that all plans have, once; of training, and of the inputs whose encoder is open, those of each encoder."""
    merged: list[PlanLine] = []
    for line in max(plans, key=len):
        stage = line["stage"]
        if stage != "train" and not _reads(stage, kinds):
            merged.append(line)
            continue
        for name, plan in zip(BUILT_IN, plans, strict=True):
            merged += [one | {"stage": f"{stage}, {name}"} for one in plan if one["stage"] == stage]
        if stage == "train":
            mix = ", and of a mix where modalities do best under different ones" if mixes else ""
            merged[-1] = _and(merged[-1], f"the validation rows choose{mix}")
    return merged


def _reads(stage: str, kinds: Sequence[Modality]) -> bool:
    """Whether it is the extraction of an input of one of these kinds."""
    name = stage.removeprefix("extract ").partition(",")[0]
    return stage.startswith("extract ") and name.partition("_")[0] in kinds


def _and(line: PlanLine, text: str) -> PlanLine:
    return {**line, "why": f"{line['why']}; {text}"}
