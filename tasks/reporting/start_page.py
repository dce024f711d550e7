"""The start page of `crossmodal up`: who waits for approval, the latest runs, the models and the schedules."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from tasks.pages import page_template


@dataclass(frozen=True)
class RunLine:
    """One run."""

    run: str
    started: str
    model: str
    history: str
    """Address of the page of the model's history; empty where there is none."""
    verdict: str
    """The gate's, what another flow found, or how the run ended."""
    tone: str
    reason: str
    figure: str


@dataclass(frozen=True)
class ModelLine:
    """One registered model."""

    name: str
    champion: str
    latest: str


@dataclass(frozen=True)
class PendingLine:
    """A candidate that waits for a person's decision."""

    name: str
    version: str
    run: str
    figure: str
    expires: str
    expired: bool


@dataclass(frozen=True)
class ScheduleLine:
    """One deployment, with its schedule and its next run."""

    id: str
    name: str
    schedule: str
    next_run: str


@dataclass(frozen=True)
class StartPage:
    """All of the page. A part whose server does not answer is empty, and named in `silent`."""

    runs: list[RunLine]
    pending: list[PendingLine] = field(default_factory=list)
    models: list[ModelLine] = field(default_factory=list)
    schedules: list[ScheduleLine] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)

    @property
    def promote_id(self) -> str:
        """Of the deployment by which a candidate is approved or rejected; empty where it is not registered."""
        return next((line.id for line in self.schedules if line.name == "promote/promote"), "")


def render_start_page(page: StartPage, store: str, prefect_url: str, mlflow_url: str) -> str:
    """The page as HTML. Without an address of MLflow it links to none."""
    template = page_template(Path(__file__).with_name("start_page.html.j2"))
    return template.render(page=page, store=store, prefect_url=prefect_url, mlflow_url=mlflow_url)
