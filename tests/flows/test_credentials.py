"""The file by which other terminals find the `up` of a store: its modes, its lock, its end; and what the CLI makes of it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from prefect import context

from flows.environment import use_prefect
from flows.hosting.credentials import Running, claimed, published, read_running, write_private
from flows.hosting.registering import prefect_client
from tasks.errors import EnvironmentFailed, UsageError
from tests.support.web import serving

RUNNING = Running(
    pid=1,
    started="2026-11-25 20:00:00 UTC",
    prefect_url="http://127.0.0.1:4200",
    mlflow_url="http://127.0.0.1:5000",
    pages_url="http://127.0.0.1:4300",
    auth_string="crossmodal:secret",
)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_it_is_found_while_it_runs_and_leaves_nothing(tmp_path: Path) -> None:
    assert read_running(tmp_path) is None
    with claimed(tmp_path), published(tmp_path, RUNNING):
        assert read_running(tmp_path) == RUNNING
        assert mode(tmp_path / "up.json") == mode(tmp_path / "prefect" / "profiles.toml") == 0o600
        assert mode(tmp_path / "prefect") == 0o700
        with pytest.raises(UsageError, match=r"since 2026-11-25 20:00:00 UTC.*crossmodal login"), claimed(tmp_path):
            pass
        assert read_running(tmp_path) == RUNNING
    assert read_running(tmp_path) is None
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["prefect", "up.lock"]
    assert "secret" not in repr(RUNNING)


def test_what_a_killed_one_left_is_not_believed(tmp_path: Path) -> None:
    with claimed(tmp_path):
        write_private(tmp_path / "up.json", RUNNING.model_dump_json())
    assert read_running(tmp_path) is None
    assert not (tmp_path / "up.json").exists()


def test_a_profile_of_the_user_stays(tmp_path: Path) -> None:
    own = tmp_path / "prefect" / "profiles.toml"
    own.parent.mkdir()
    own.write_text('active = "mine"\n')
    with claimed(tmp_path), published(tmp_path, RUNNING):
        assert own.read_text() == 'active = "mine"\n'
    assert own.exists()


def test_a_private_file_replaces_one_that_others_could_read(tmp_path: Path) -> None:
    path = tmp_path / "up.json"
    path.write_text("old")
    path.chmod(0o644)
    write_private(path, "new")
    assert (path.read_text(), mode(path)) == ("new", 0o600)


@pytest.fixture
def no_prefect(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("PREFECT_", "CROSSMODAL_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.setattr(context, "GLOBAL_SETTINGS_CONTEXT", context.root_settings_context())  # as when it was imported


@pytest.fixture
def server() -> Iterator[str]:
    """The address of something that answers 200 to every path."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            return

    with serving(Answer) as address:
        yield address


@pytest.mark.usefixtures("no_prefect")
def test_a_command_uses_the_running_server_and_its_credential(tmp_path: Path, server: str) -> None:
    with claimed(tmp_path), published(tmp_path, RUNNING.model_copy(update={"prefect_url": server})):
        use_prefect(tmp_path)
    assert os.environ["PREFECT_API_URL"] == f"{server}/api"
    assert os.environ["PREFECT_API_AUTH_STRING"] == "crossmodal:secret"
    assert os.environ["CROSSMODAL_PAGES_URL"] == "http://127.0.0.1:4300"


@pytest.mark.usefixtures("no_prefect")
def test_a_server_that_the_user_named_is_kept_and_gets_no_credential_of_ours(tmp_path: Path) -> None:
    os.environ["PREFECT_API_URL"] = "https://prefect.example.org/api"
    with claimed(tmp_path), published(tmp_path, RUNNING):
        use_prefect(tmp_path)
    assert os.environ["PREFECT_API_URL"] == "https://prefect.example.org/api"
    assert not {"PREFECT_API_AUTH_STRING", "PREFECT_HOME"} & set(os.environ)


@pytest.mark.usefixtures("no_prefect")
def test_without_a_running_server_the_temporary_ones_database_is_the_stores(tmp_path: Path) -> None:
    root = tmp_path / "new"  # a store that nobody has made yet
    use_prefect(root)
    assert os.environ["PREFECT_HOME"] == str(root / "prefect")
    assert (root / "prefect").is_dir()
    assert os.environ["PREFECT_API_AUTH_STRING"] == os.environ["PREFECT_SERVER_API_AUTH_STRING"] != ""
    assert "PREFECT_API_URL" not in os.environ


@pytest.mark.usefixtures("no_prefect")
def test_prefect_uses_the_running_server_also_where_it_was_imported_before(tmp_path: Path, server: str) -> None:
    assert context.GLOBAL_SETTINGS_CONTEXT.settings.api.url is None
    with claimed(tmp_path), published(tmp_path, RUNNING.model_copy(update={"prefect_url": server})):
        use_prefect(tmp_path)
    assert context.GLOBAL_SETTINGS_CONTEXT.settings.api.url == f"{server}/api"
    assert context.GLOBAL_SETTINGS_CONTEXT.settings.home == tmp_path / "prefect"


@pytest.mark.usefixtures("no_prefect")
def test_a_command_in_a_message_can_be_pasted_where_the_store_has_a_space(tmp_path: Path) -> None:
    root = tmp_path / "my store"
    root.mkdir()
    with pytest.raises(EnvironmentFailed, match=f"--store '{root}'"), prefect_client(root):
        pass
