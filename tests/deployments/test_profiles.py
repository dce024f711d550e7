"""Every shipped profile is a valid config, and every deployment loads its flow for real."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
import yaml

from flows.request import find_profile, resolve_config
from tasks.config import RunConfig, read_profile
from tasks.errors import UsageError

ROOT = Path(__file__).resolve().parents[2]
PROFILES = sorted((ROOT / "deployments" / "profiles").glob("*.toml"))
DEPLOYMENTS = yaml.safe_load((ROOT / "deployments" / "prefect.yaml").read_text())["deployments"]


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_a_profile_is_valid_and_holds_only_what_differs(path: Path) -> None:
    config = resolve_config(path.stem, None, [])
    assert config.name == path.stem
    defaults = RunConfig()

    def same_as_default(values: dict[str, object], default: object) -> list[str]:
        found = []
        for key, value in values.items():
            if isinstance(value, dict):
                found += same_as_default(value, getattr(default, key))
            elif value == getattr(default, key):
                found.append(key)
        return found

    assert same_as_default(read_profile(path), defaults) == []


def test_an_unknown_profile_lists_those_there_are() -> None:
    with pytest.raises(UsageError, match="digits"):
        find_profile("digit")


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda deployment: deployment["name"])
def test_a_deployment_names_a_real_flow_and_its_real_parameters(
    deployment: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect.flows import load_flow_from_entrypoint

    monkeypatch.chdir(ROOT)
    flow = load_flow_from_entrypoint(str(deployment["entrypoint"]), use_placeholder_flow=False)
    parameters = deployment["parameters"]
    assert isinstance(parameters, dict)
    assert set(parameters) <= set(inspect.signature(flow.fn).parameters)
    assert find_profile(parameters["profile"]).is_file()


def test_the_weekly_schedule_is_a_cron_of_once_a_week() -> None:
    schedules = [schedule for deployment in DEPLOYMENTS for schedule in deployment["schedules"]]
    assert [schedule["cron"] for schedule in schedules] == ["0 3 * * 1"]
