"""The deployments as registered: a snapshot, every flow loaded for real, parameters and pools against their schemas."""

from __future__ import annotations

import inspect
import json
import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import jsonschema
import pytest
import yaml
from prefect.client.schemas.schedules import IntervalSchedule
from prefect.flows import load_flow_from_entrypoint
from prefect.server.api import collections_data
from prefect.utilities.schema_tools import is_valid_schema, validate
from prefect.utilities.templating import find_placeholders
from typer.testing import CliRunner

from flows import request
from flows.hosting.deployments import (
    FILE,
    POOL_TYPES,
    Deployment,
    PoolType,
    Target,
    of_profile,
    read_deployments,
    render_deployment,
    render_pool,
)
from flows.hosting.schedules import check_schedule, describe_schedule, which_scheduled
from flows.hosting.start_page import in_order
from flows.request import check_mode, check_overrides, find_profile
from flows.sensors import is_missing
from tasks.errors import UsageError
from tasks.reporting.start_page import ScheduleLine

SNAPSHOT = Path(__file__).parent / "deployments.json"
TARGET = Target(store="/data/store", profiles=("defaults", "digits", "photos"))
ENTRIES = [*read_deployments(), of_profile("photos")]
WORKERS = json.loads((Path(collections_data.__path__[0]) / "views" / "aggregate-worker-metadata.json").read_text())


@pytest.fixture(scope="module")
def rendered() -> list[Deployment]:
    return [render_deployment(entry, TARGET) for entry in ENTRIES]


def test_what_is_registered_is_what_was_reviewed(rendered: list[Deployment]) -> None:
    found = [entry.model_dump(mode="json") for entry in rendered]
    if os.environ.get("UPDATE_SNAPSHOTS"):
        SNAPSHOT.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    assert found == json.loads(SNAPSHOT.read_text()), (
        f"meant? UPDATE_SNAPSHOTS=1 pytest {__file__}, and look at the diff"
    )


def test_parameters_meet_their_schema_and_every_field_has_a_description(rendered: list[Deployment]) -> None:
    for entry in rendered:
        schema = entry.parameter_openapi_schema
        is_valid_schema(schema)
        required = dict.fromkeys(schema.get("required", []), "for a test")
        assert set(required) == ({"reason"} if entry.name == "promote" else set()), "a click on Quick run suffices"
        defaults = {name: field["default"] for name, field in schema["properties"].items() if name not in required}
        assert validate(defaults | required | entry.parameters, schema) == [], entry.name
        for name, field in schema["properties"].items():
            assert field.get("description"), f"{entry.name}: {name}"
            assert field.get("type") in {"string", "integer", "array"}, f"{entry.name}: {name} shows no plain field"
        assert entry.description
        assert "crossmodal" in entry.tags


def test_prefect_finds_the_types_of_every_flows_parameters() -> None:
    """As it does when a run begins; the schema of a form is made in another way."""
    for entry in ENTRIES:
        flow = load_flow_from_entrypoint(entry.entrypoint, use_placeholder_flow=False)
        required = {name for name, each in inspect.signature(flow.fn).parameters.items() if each.default is each.empty}
        validated = flow.validate_parameters(dict.fromkeys(required, "for a test") | entry.parameters)
        assert validated.keys() >= required | entry.parameters.keys()


def test_retrain_has_one_run_at_a_time_and_cancels_the_next(rendered: list[Deployment]) -> None:
    for entry in rendered:
        if entry.flow_name == "retrain":
            assert entry.concurrency_limit is not None
            assert entry.model_dump()["concurrency_limit"] == {"limit": 1, "collision_strategy": "CANCEL_NEW"}


def test_prefect_itself_reads_the_same_file() -> None:
    from prefect.cli.deploy._models import PrefectYamlModel

    read = PrefectYamlModel.model_validate(yaml.safe_load(FILE.read_text()))
    assert [entry.name for entry in read.deployments] == [
        entry.name for entry in ENTRIES[:-1]
    ]  # the last is a profile's own


@pytest.mark.parametrize(
    ("field", "value", "refuse"),
    [
        ("profile", "digit", lambda value: find_profile(value, "/nowhere")),
        ("mode", "plan", check_mode),
        ("overrides", ["epochs"], check_overrides),
    ],
)
def test_the_form_and_the_command_line_refuse_with_the_same_words(field: str, value: Any, refuse: Any) -> None:
    target = Target(profiles=tuple(request.profile_files("/nowhere")))
    schema = render_deployment(ENTRIES[0], target).parameter_openapi_schema
    [error] = validate({field: value}, schema)
    with pytest.raises(UsageError) as refused:
        refuse(value)
    assert error.message in str(refused.value)
    assert str(refused.value).startswith(field)


@pytest.mark.parametrize("kind", POOL_TYPES)
def test_a_pool_is_one_that_prefects_worker_of_that_type_understands(kind: PoolType) -> None:
    image = None if kind == "process" else "registry/crossmodal:1"
    template = render_pool(Target(type=kind, image=image))
    [official] = [workers[kind]["default_base_job_configuration"] for workers in WORKERS.values() if kind in workers]
    assert set(template["job_configuration"]) <= set(official["job_configuration"])
    is_valid_schema(template["variables"])
    properties, theirs = template["variables"]["properties"], official["variables"]["properties"]
    for name, field in properties.items():
        assert field["type"] == theirs[name]["type"], name
        if "enum" in theirs[name]:
            assert set(field["enum"]) <= set(theirs[name]["enum"])
    used = {found.name for found in find_placeholders(template["job_configuration"])}
    assert used == set(properties), "env and command, which are no one's to set, the worker itself puts in"
    assert not {"command", "env", "volumes", "privileged", "working_dir"} & set(properties), (
        "nobody sets them from a form"
    )
    with pytest.raises(jsonschema.ValidationError, match="command"):
        jsonschema.validate({"command": "id", "image": "x"}, template["variables"])
    if image is not None:
        assert properties["image"]["default"] == image


@pytest.mark.parametrize("kind", get_args(PoolType))
def test_a_pool_is_one_that_prefects_server_takes(kind: PoolType) -> None:
    from prefect.server.schemas.actions import WorkPoolCreate

    template = render_pool(Target(pool="pool", type=kind, image=None if kind == "process" else "registry/crossmodal:1"))
    assert WorkPoolCreate(name="pool", type=kind, base_job_template=template).base_job_template == template


def test_a_container_takes_the_image_and_the_store_of_its_pool() -> None:
    entry = render_deployment(ENTRIES[0], Target(type="docker", image="registry/crossmodal:1", store="/data/store"))
    assert entry.work_pool.job_variables == {"image": "registry/crossmodal:1"}
    assert "store" not in entry.parameters


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["deploy", "--type", "vm"], 2, "--type: 'vm' is not one of ['process', 'docker', 'kubernetes']"),
        (["deploy", "--type", "docker"], 2, "--type docker needs --image"),
        (["deploy", "--image", "x"], 2, "--type process takes no --image"),
        (["deploy"], 4, "no Prefect server: start one with crossmodal up"),
        (["schedule", "digits", "--cron", "0 3 * *"], 2, "--cron '0 3 * *': "),
        (
            ["schedule", "digits", "--cron", "0 3 31 2 *"],
            2,
            "--cron '0 3 31 2 *': no day is such, so no run would ever be",
        ),
        (["schedule", "weekly", "--cron", "0 3 * * 1"], 2, "retrain/weekly is a deployment already"),
        (["schedule", "digits", "--cron", "0 3 * * 1", "--timezone", "Mars"], 2, "--timezone 'Mars': "),
        (["schedule", "digit", "--cron", "0 3 * * 1"], 2, "profile: 'digit' is not one of ["),
        (["schedule", "broken", "--cron", "0 3 * * 1"], 2, "'train.epochs' = 'many' (from profile broken)"),
        (["watch", "broken"], 2, "'train.epochs' = 'many' (from profile broken)"),
        (["schedule", "digits", "--cron", "0 3 * * 1"], 4, "no Prefect server: "),
        (
            ["schedule", "rows", "--cron", "0 3 29 2 *"],
            4,
            "no Prefect server: ",
        ),  # the name of audit's deployment is free
        (["schedule", "list"], 4, "no Prefect server: "),
        (["watch", "digits", "--remove"], 4, "no Prefect server: "),
        (["schedule", "pause", "digits"], 4, "no Prefect server: "),
    ],
)
def test_what_is_wrong_is_said_in_one_line_before_a_server_is_asked(
    arguments: list[str],
    code: int,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from flows.cli import main

    for name in ("PREFECT_API_URL", "PREFECT_HOME", "PREFECT_LOCAL_STORAGE_PATH"):
        monkeypatch.setenv(name, "x")  # so that what the command sets is taken back
        monkeypatch.delenv(name)
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "broken.toml").write_text("[train]\nepochs = 'many'\n")
    for name in ("weekly", "rows"):
        (tmp_path / "profiles" / f"{name}.toml").write_text('data.path = "builtin:digits"\n')
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--store", str(tmp_path)])
    output = capsys.readouterr().err
    assert ended.value.code == code, output
    assert message in output
    assert len(output.strip().splitlines()) == 1


def test_schedule_takes_its_subcommands_and_a_bare_profile() -> None:
    from flows.commands.schedule import schedule_app

    help_text = CliRunner().invoke(schedule_app, ["--help"]).output
    assert {"add", "list", "pause", "resume", "remove"} <= set(re.findall(r"[a-z]+", help_text))
    assert "--cron" in CliRunner().invoke(schedule_app, ["digits", "--help"]).output


def test_a_schedule_says_when_it_is_due_in_its_own_time_zone() -> None:
    schedule, due = check_schedule("30 3 * * 1", "Asia/Kolkata")
    assert (schedule.cron, f"{due:%H:%M %a %z}") == ("30 3 * * 1", "03:30 Mon +0530")
    assert due > datetime.now(UTC)


def test_a_schedule_is_found_by_its_deployment_or_by_a_profile_that_only_it_has() -> None:
    profiles = {"weekly": "digits", "photos": "photos", "nightly": "photos"}
    names = ("weekly", "retrain/weekly", "digits", "photos")
    assert [which_scheduled(name, profiles) for name in names] == ["weekly", "weekly", "weekly", "photos"]
    with pytest.raises(UsageError, match=r"'tones' is not one of \['a', 'b'\]; see crossmodal schedule list"):
        which_scheduled("tones", {"a": "tones", "b": "tones"})


def test_an_interval_is_listed_as_one() -> None:
    every, weekly = IntervalSchedule(interval=timedelta(minutes=5)), check_schedule("0 3 * * 1", "UTC")[0]
    assert [describe_schedule(one) for one in (every, weekly)] == ["every 300 s", "0 3 * * 1"]


def test_the_start_page_begins_with_what_retrains() -> None:
    names = ("audit/rows", "retrain/weekly", "check/data", "retrain/photos")
    lines = sorted((ScheduleLine("id", name, "", "") for name in names), key=in_order)
    assert [line.name for line in lines] == ["retrain/photos", "retrain/weekly", "audit/rows", "check/data"]


def test_a_source_that_is_not_there_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from flows.cli import main

    nowhere = tmp_path / "nowhere"
    with pytest.raises(SystemExit) as ended:
        main(["watch", "digits", "--source", str(nowhere), "--deployment", "a b/c", "--store", str(tmp_path)])
    assert ended.value.code == 2  # the name is none: no server is asked
    assert f"'{nowhere}': nothing is there now" in " ".join(capsys.readouterr().err.split())
    assert not is_missing(str(tmp_path))
    assert not is_missing("s3://bucket/new")
