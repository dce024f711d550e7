"""How commands take several options as one object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer
from typer.testing import CliRunner

from flows.commands.options import grouped


@dataclass(frozen=True)
class Size:
    """Two options."""

    width: Annotated[int, typer.Option(help="In pixels.")] = 3
    tall: Annotated[bool, typer.Option("--tall")] = False


def test_a_group_stands_as_its_options_and_arrives_as_one_object() -> None:
    app = typer.Typer()

    @app.command()
    @grouped
    def draw(name: str, *, colour: str = "red", size: Size, count: int = 1) -> None:
        """Draw it."""
        print(name, colour, size, count)

    runner = CliRunner()
    shown = runner.invoke(app, ["--help"]).output
    assert "Draw it." in shown
    places = [shown.index(flag) for flag in ("--colour", "--width", "--tall", "--count")]
    assert places == sorted(places)
    assert "--size" not in shown
    ran = runner.invoke(app, ["it", "--tall", "--count", "2"])
    assert ran.output == f"it red {Size(3, True)} 2\n"
    assert runner.invoke(app, ["it", "--width", "wide"]).exit_code == 2
