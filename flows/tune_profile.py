"""The best settings of a search, as a profile that `crossmodal retrain --profile` takes."""

from __future__ import annotations

from pathlib import Path

from data_contracts.tuning import TuneReport
from flows.profiles import check_target, describe_settings, profile_text
from flows.request import Request, own_profiles
from tasks.config import RunConfig, with_settings
from tasks.errors import UsageError
from tasks.problems.registry import figure_text
from tasks.redaction import holds_credential
from tasks.store import replace_file
from tasks.tune.outcome import changed_settings

MARK = "# Written by crossmodal tune"
"""How a profile begins that the next search may replace."""


def profile_target(request: Request, save: str | None) -> Path:
    """The file. UsageError where somebody else's would be overwritten, or the name is none."""
    folder = own_profiles(str(request.store.root))
    if save is not None:
        target = Path(save).absolute() if save.endswith(".toml") or "/" in save else folder / f"{save}.toml"
        check_target(target.stem, target, "--save")
        return target
    target = folder / f"{request.name}-tuned.toml"
    if target.exists() and not target.read_text(encoding="utf-8", errors="replace").startswith(MARK):
        raise UsageError(
            f"profile {target}: is there already, and no search wrote it; rename it, or save the best settings as --save NAME"
        )
    return target


def save_profile(target: Path, request: Request, report: TuneReport) -> None:
    """The profile at `target` has all that the request sets, and the best trial's settings; not those of the search itself."""
    settings = changed_settings(report)
    config = with_settings(request.config, settings)
    usual = describe_settings(RunConfig())
    keys = [key.split(".") for key, value in describe_settings(config).items() if usual.get(key) != value]
    keys = [key for key in keys if key[0] not in ("tune", "name") and key != ["data", "path"]]
    best, before = (one.validation.get(report.metric) for one in (report.best, report.defaults))
    shown = ["–" if value is None else figure_text(value, report.metric) for value in (best, before)]
    comments = [
        f"Trial {report.best.trial} of study {report.study}, run {report.run}: {report.metric} {shown[0]} on "
        f"{report.validation_rows} validation rows, {shown[1]} before. It changes {', '.join(settings)}.",
    ]
    text = f"{MARK}; the next search of this model replaces it.\n{profile_text(request.name, config, keys, comments)}"
    target.parent.mkdir(parents=True, exist_ok=True)
    replace_file(target, text.encode())
    if holds_credential(text):  # it is used as it stands
        target.chmod(0o600)
