"""The documentation as a site: `make docs` builds it offline from the same Markdown that GitHub shows."""

import shutil
from pathlib import Path
from typing import Any

project = "crossmodal"
extensions = ["myst_parser"]
root_doc = "README"
include_patterns = ["*.md", "docs/**.md", "benchmarks/RESULTS.md"]
exclude_patterns = [".*", "build", "dist", "mlruns", "**/__pycache__", "*.egg-info"]
myst_heading_anchors = 4  # the anchors that GitHub gives
html_theme = "furo"
html_title = "crossmodal"
html_show_sphinx = False
html_copy_source = False
html_use_index = False
suppress_warnings = ["myst.header"]  # a page may begin with a table

_NAVIGATION = {
    "Data and models": [
        "data",
        "audit",
        "predict",
        "score",
        "serve",
        "uncertainty",
        "release",
        "compress",
        "tabular",
        "encoders",
        "finetuning",
        "fusion",
        "continue",
        "training",
        "digits",
        "ablation",
        "translate",
        "tune",
        "explain",
        "compare",
    ],
    "Running it": ["schedule", "deploy", "store", "features", "debugging", "hosting", "scale-out", "security"],
    "Watching it": ["gate", "monitoring", "approval", "journal", "mlflow"],
    "Reference": ["reference/cli", "reference/config"],
    "The project": ["/CONTRIBUTING", "decisions", "/benchmarks/RESULTS", "/CHANGELOG", "*"],
}
"""Pages of docs/ by their caption; `*` for those that are named nowhere."""


def _add_navigation(app: Any, name: str, source: list[str]) -> None:
    """The start page has the tables of contents, which GitHub would show as code."""
    if name != root_doc:
        return
    for caption, pages in _NAVIGATION.items():
        lines = [page if page.startswith("/") else f"/docs/{page}" for page in pages]
        source[0] += "\n".join(
            ["", "```{toctree}", ":hidden:", ":glob:", f":caption: {caption}", "", *lines, "```", ""]
        )


def _add_index(app: Any, error: Exception | None) -> None:
    """The start page is also where a browser looks for it."""
    if error is None:
        shutil.copyfile(Path(app.outdir) / f"{root_doc}.html", Path(app.outdir) / "index.html")


def setup(app: Any) -> None:
    """What Sphinx calls first."""
    app.connect("source-read", _add_navigation)
    app.connect("build-finished", _add_index)
