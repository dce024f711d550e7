"""What the command line says of itself, and what completes it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from flows.cli import main, make_app
from flows.request import resolve_config
from tasks.errors import UsageError

CROSSMODAL = str(Path(sys.executable).parent / "crossmodal")


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    for name, inner in getattr(group, "commands", {}).items():
        yield from commands(inner, (*path, name))


@pytest.mark.parametrize("path", list(commands(get_command(make_app()))), ids=" ".join)
def test_help_offers_no_value_for_a_flag(path: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([*path, "--help"])
    out = capsys.readouterr().out
    assert stop.value.code == 0
    assert "--help" in out
    assert "bool" not in out
    assert not re.search(r"\w [.,;]", out), "a bracket that rich has taken for markup"


COMMANDS = [
    ("check",),
    ("retrain", "--profile"),
    ("plan", "--data"),
    ("predict", "x.csv", "--model"),
    ("backup", "--out"),
]


@pytest.mark.parametrize(
    "path", [*COMMANDS, ("runs", "list", "--store"), ("fetch",), ("deploy", "--pool")], ids=" ".join
)
@pytest.mark.parametrize("empty", ["", "="])
def test_an_empty_string_is_no_value(
    path: tuple[str, ...],
    empty: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`check "$UNSET"` read the current folder and all below it."""
    monkeypatch.chdir(tmp_path)
    flag = path[-1].startswith("--")
    with pytest.raises(SystemExit) as stop:
        main([*path[:-1], path[-1] + "="] if empty and flag else [*path, ""])
    assert stop.value.code == 2
    assert "an empty string" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_verdict_that_is_none_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["runs", "list", "--verdict", "promoted", "--store", str(tmp_path)])
    assert stop.value.code == 2
    assert "'promoted' is not one of ['promote'," in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        main(["runs", "list", "--verdict", "promote", "--store", str(tmp_path)])
    assert stop.value.code == 0
    assert capsys.readouterr().out == "no such run\n"


@pytest.mark.parametrize("port", ["0", "65536", "-1"])
@pytest.mark.parametrize("flag", ["--prefect-port", "--mlflow-port", "--pages-port"])
def test_a_port_that_is_none_is_refused(
    flag: str, port: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["up", flag, port, "--store", str(tmp_path)])
    assert stop.value.code == 2
    assert f"Invalid value for '{flag}'" in capsys.readouterr().err


def test_a_stage_is_checked_before_the_run(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["run-stage", "training", "--run", "none", "--store", str(tmp_path)])
    assert stop.value.code == 2
    assert "stage 'training'" in capsys.readouterr().err


def test_a_profile_s_settings_are_shown_as_they_are_typed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        main(["profile", "show", "digits", "--store", str(tmp_path)])
    out = capsys.readouterr().out
    assert "None" not in out
    (rules,) = re.findall(r"^gate\.rules +(\[.*\])", out, re.MULTILINE)
    assert (
        resolve_config("digits", None, [f"gate.rules={rules}"]).gate.rules
        == resolve_config("digits", None, []).gate.rules
    )


def test_an_argument_too_many_points_to_the_command_s_own_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["runs", "list", "surplus"])
    assert stop.value.code == 2
    assert "see crossmodal runs list --help" in capsys.readouterr().err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_installed_and_completes(shell: str, tmp_path: Path) -> None:
    env = os.environ | {"HOME": str(tmp_path), "PATH": f"{Path(CROSSMODAL).parent}:{os.environ['PATH']}"}
    env["_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION"] = "1"  # the shell is named, as none runs the tests

    def call(*arguments: str, **more: str) -> str:
        done = subprocess.run([CROSSMODAL, *arguments], env=env | more, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    message = call("--install-completion", shell)
    installed = Path(str(re.search(r"installed in (\S+)", " ".join(message.split()))[1]))  # type: ignore[index]
    assert installed.is_relative_to(tmp_path)
    assert "_CROSSMODAL_COMPLETE" in installed.read_text()
    asked = {"COMP_WORDS": "crossmodal runs qu", "COMP_CWORD": "2"} if shell == "bash" else {}
    asked |= {"_TYPER_COMPLETE_ARGS": "crossmodal runs qu", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    assert "quarantine" in call(_CROSSMODAL_COMPLETE=f"complete_{shell}", **asked)
    if shell == "bash":
        asked = "COMP_WORDS=(crossmodal ret); COMP_CWORD=1; _crossmodal_completion crossmodal; echo ${COMPREPLY[@]}"
        script = f"source {installed}; {asked}"
        done = subprocess.run(["bash", "-c", script], env=env, capture_output=True, text=True, check=True)
        assert done.stdout.split() == ["retrain"]


@pytest.mark.parametrize(
    ("profile", "overrides", "source"),
    [
        (None, ["train.epochs=0"], "--set train.epochs=0"),
        ("digits", ["train.epochs=0"], "--set train.epochs=0"),
        (None, ["trian.epochs=3"], "--set trian.epochs=3"),
        (None, ["split.val=0.9", "split.test=0.5"], "--set split.test=0.5"),  # of several, the last one
    ],
)
def test_a_wrong_setting_is_told_with_where_it_was_given(
    profile: str | None, overrides: list[str], source: str
) -> None:
    with pytest.raises(UsageError) as caught:
        resolve_config(profile, None if profile else "x.csv", overrides)
    assert f"(from {source})" in str(caught.value)
    assert "None)" not in str(caught.value)


def test_a_wrong_setting_of_a_profile_names_the_profile(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("[train]\nepochs = 0\n")
    with pytest.raises(UsageError, match=r"from profile .*mine\.toml"):
        resolve_config(str(path), None, ["train.early_stopping_patience=3"])
