"""`crossmodal score` and `crossmodal feedback`: new rows scored, and labels that come later."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from flows import console
from flows.commands.models import Reason
from flows.commands.options import CommonOptions, Model, RunInput, Set, SummaryOptions, grouped
from flows.environment import now_ms, user_name
from flows.feedback import decide_live, find_pair
from flows.journaling import record_decisions
from flows.scoring import PART_ROWS, SCORES, score_manifest
from tasks.errors import PromotionRefused, UsageError
from tasks.publish import registry
from tasks.publish.approval import Approval


@grouped
def score(
    manifest: Annotated[str, typer.Argument(help="A manifest, a folder of media or of tables, or one file.")],
    *,
    model: Model = None,
    out: Annotated[str | None, typer.Option(help="Folder for the scores (default: scores in the store).")] = None,
    challenger: Annotated[
        bool,
        typer.Option(help="Score the rows with the challenger, too, where there is one and --model names no alias."),
    ] = True,
    part_rows: Annotated[
        int, typer.Option(min=1, help="Rows of one Parquet file, and in memory at a time.")
    ] = PART_ROWS,
    overrides: Set = None,
    common: SummaryOptions,
) -> None:
    """Predict the rows that a model version has not scored yet, and keep the answers beside those of before.

    Ended early, the same command resumes after the last finished file. Rows that cannot be read are listed in _refused.csv.
    """
    request = RunInput(data=manifest, overrides=overrides).request(common.store)
    with console.progress_bars(), console.warnings_shown():
        summary = score_manifest(request, model, out, challenger, part_rows)
    console.print_scores(summary, common.as_json)


@dataclass(frozen=True)
class Promotion:
    """Whether a challenger that passes becomes the champion, and why."""

    promote: Annotated[
        bool, typer.Option("--promote", help="Make the challenger the champion if it passes; needs --reason.")
    ] = False
    reason: Reason = ""


@grouped
def feedback(
    labels: Annotated[str, typer.Argument(help="A table with the columns id and label.")],
    *,
    model: Annotated[str, typer.Option(help="The model's name: its challenger is compared with its champion.")],
    scores: Annotated[
        str | None, typer.Option(help="Folder with the scores of both (default: scores in the store).")
    ] = None,
    promotion: Promotion,
    overrides: Set = None,
    common: CommonOptions,
) -> None:
    """Decide between challenger and champion on scored rows whose labels have come, by the rules of the gate.

    The verdict is an entry of the journal, and a result: exit status 0. With --promote, status 5 where it does not pass.
    """
    if promotion.promote and not promotion.reason.strip():
        raise UsageError("--promote: say why with --reason")
    request = RunInput(data="builtin:digits").request(common.store)
    with console.warnings_shown():
        candidate, champion, config = find_pair(model, overrides or [], request)
    folder = Path(scores).expanduser() if scores else request.store.root / SCORES
    found = decide_live(labels, candidate, champion, folder, config, request)
    promoted = promotion.promote and found.decision == "promote"
    if promoted:
        approval, place = Approval(user_name(), now_ms(), promotion.reason), (request.store, request.tracking_uri)
        registry.promote(model, found.version, config.publish.alias, *place, approval, request.verify_key)
        record_decisions(model, config.publish.alias, *place)
    console.print_live_verdict(found.model_copy(update={"promoted": promoted}), request.store.root, common.as_json)
    if promotion.promote and not promoted:
        raise PromotionRefused(
            f"model {model} version {found.version}: was not promoted, as live rows do not show that it may be "
            f"({found.reason})"
        )
