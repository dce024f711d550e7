"""`crossmodal up --postgres` on a real PostgreSQL: migrations, a scheduled run, and a power cut in the middle of it."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.chaos.up import SETTINGS, TARGETS, Up, ended, free_ports, taken_slots, unfinished, wait_for
from data_contracts.training_history import Epoch
from tasks.config_tune import FloatRange, TuneConfig
from tasks.errors import EnvironmentFailed
from tasks.store import Store
from tasks.tune.storage import check_storage
from tasks.tune.study import Plan, Study

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
PASSWORD = "s3cret-word"


def find_programs() -> Path:
    """The folder of initdb and pg_ctl, which Debian keeps off the PATH."""
    found = shutil.which("initdb")
    folders = [Path(found).parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    for folder in reversed(folders):
        if (folder / "initdb").exists() and (folder / "pg_ctl").exists():
            return folder
    text = "needs PostgreSQL's programs initdb and pg_ctl (Debian: postgresql)"
    pytest.fail(text) if os.environ.get("CI") else pytest.skip(text)
    raise AssertionError


@pytest.fixture
def database() -> Iterator[str]:
    """The address of an empty database in a cluster of its own."""
    programs = find_programs()
    if not os.environ.get("CI"):
        pytest.importorskip("psycopg2", reason="needs the extra postgres")
    folder = Path(tempfile.mkdtemp(prefix="pg-"))  # below /tmp: its user must reach it, and a socket's path is short
    as_user: list[str] = []
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        owner = pwd.getpwnam("postgres")
        os.chown(folder, owner.pw_uid, owner.pw_gid)
        as_user = ["setpriv", f"--reuid={owner.pw_uid}", f"--regid={owner.pw_gid}", "--clear-groups"]
    [port], secret = free_ports(1), folder / "password"
    secret.write_text(PASSWORD)
    secret.chmod(0o644)

    def run(program: str, *arguments: str) -> None:
        command = [*as_user, str(programs / program), *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/tmp")

    data = str(folder / "data")
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1"
    try:
        run("initdb", "-D", data, "-U", "trainer", f"--pwfile={secret}", "-A", "scram-sha-256", "-E", "UTF8")
        run("pg_ctl", "-D", data, "-o", options, "-l", str(folder / "log"), "-w", "start")
        import psycopg2

        connection = psycopg2.connect(f"postgresql://trainer:{PASSWORD}@127.0.0.1:{port}/postgres")
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("CREATE DATABASE crossmodal")
        connection.close()
        yield f"postgresql://trainer:{PASSWORD}@127.0.0.1:{port}/crossmodal"
    finally:
        subprocess.run(
            [*as_user, str(programs / "pg_ctl"), "-D", data, "-m", "immediate", "stop"], check=False, cwd="/tmp"
        )
        shutil.rmtree(folder, ignore_errors=True)


def tables(address: str) -> dict[str, set[str]]:
    import psycopg2

    connection = psycopg2.connect(address)
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT schemaname, tablename FROM pg_tables WHERE schemaname IN ('public', 'mlflow')")
        found: dict[str, set[str]] = {"public": set(), "mlflow": set()}
        for schema, table in cursor.fetchall():
            found[schema].add(table)
    connection.close()
    return found


def test_a_scheduled_run_on_postgresql_survives_a_restart_in_its_middle(
    database: str, learnable: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect.client.schemas.schedules import CronSchedule

    monkeypatch.setenv("CROSSMODAL_POSTGRES", database)
    up = Up(tmp_path / "store")
    try:
        up.start()
        existing = tables(database)
        assert {"flow_run", "deployment", "alembic_version"} <= existing["public"]
        assert {"experiments", "registered_models", "alembic_version"} <= existing["mlflow"]
        assert not (up.store / "prefect" / "prefect.db").exists()
        assert not (up.store / "mlflow.db").exists()
        with up.client() as client:
            deployment = client.read_deployment_by_name("retrain/weekly")
            parameters: dict[str, Any] = {
                "profile": "defaults",
                "data": str(learnable),
                "overrides": [*SETTINGS, "name=scheduled"],
            }
            # Every minute: a single minute could pass while a busy machine's scheduler is on its way.
            schedule = CronSchedule(cron="* * * * *", timezone="UTC")
            response = client.request(
                "POST",
                f"/deployments/{deployment.id}/schedules",
                json=[{"schedule": schedule.model_dump(mode="json"), "active": True, "parameters": parameters}],
            )
            wait_for("the scheduled run", lambda: up.processes(*TARGETS["engine"]))
            client.request("DELETE", f"/deployments/{deployment.id}/schedules/{response.json()[0]['id']}")
            (run,) = [run for run in unfinished(client) if run.auto_scheduled]
        up.kill("all")
        up.start()
        with up.client() as client:
            assert ended(client, run.id).state_name == "Crashed"
            again = wait_for(
                "the second try",
                lambda: [found for found in client.read_flow_runs(limit=200) if f"retry-of:{run.id}" in found.tags],
            )
            state = ended(client, again[0].id).state
            assert state is not None
            assert state.is_completed(), state
            assert taken_slots(client) == {}
        said = up.output_text()
        assert up.stop() == 130
        assert "s3cret" not in said
        for log in (up.store / "prefect").glob("*.log"):
            text = log.read_text(errors="replace")
            assert "s3cret" not in text, log
            assert log.name != "server.log" or "Traceback" not in text
        assert up.orphans() == []
    finally:
        up.end()


def test_workers_with_a_store_each_share_a_study_in_the_database(database: str, tmp_path: Path) -> None:
    """Of what one left, the other takes up nothing: the state of its training lies elsewhere."""
    tune = TuneConfig.model_validate({"trials": 10, "storage": database})
    space = {"train.learning_rate": FloatRange(type="float", low=1e-4, high=1e-2, log=True)}
    plan = Plan("tones-1", space, (False,), 1.0, 10, 0, tune, {"train.learning_rate": 0.002})
    check_storage(database)
    studies = [Study(plan, Store(tmp_path / name)) for name in "ab"]
    with studies[0].next_trial(True) as left:
        assert left is not None
        assert left.settings == {"train.learning_rate": 0.002}
        left.hear(Epoch(epoch=1, train_loss=0, val_loss=0, val_accuracy=0.5), "val_accuracy")
    done: list[int] = []

    def work(study: Study) -> None:
        while True:
            with study.next_trial(True) as trial:
                if trial is None:
                    return
                done.append(trial.number)
                trial.complete([trial.settings["train.learning_rate"]])  # type: ignore[list-item]

    work(studies[1])
    assert 0 not in done
    threads = [threading.Thread(target=work, args=(study,)) for study in studies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done) == list(range(10))
    assert studies[0].records() == studies[1].records()
    assert studies[0].records()[0].epochs == (0.5,)


def test_a_database_that_cannot_be_used_is_one_line_without_its_password(database: str) -> None:
    for wrong in (database.replace(PASSWORD, "an0ther-word"), database.replace("127.0.0.1", "127.0.0.2")):
        with pytest.raises(EnvironmentFailed, match="the database cannot be used") as refused:
            check_storage(wrong)
        assert "word@" not in str(refused.value)
        assert len(str(refused.value).splitlines()) == 1
