"""The rules that docs/gate.md shows are read, and each of them decides."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from data_contracts.slices import SLICES, PartFigures, ReferenceFigures, SliceFigures, SliceReport
from tasks.config import load_config
from tasks.gate.gate import gate
from tasks.store import Store
from tests.support.gate_reports import make_report

PAGE = (Path(__file__).parents[2] / "docs/gate.md").read_text(encoding="utf-8")


def figures(value: float, change: float, rows: int = 60) -> dict[str, object]:
    reference = ReferenceFigures(rows=rows, metrics={"accuracy": value - change}, changes={"accuracy": change})
    bounds = {"accuracy": (value - 0.05, value + 0.05)}
    return {"rows": rows, "metrics": {"accuracy": value}, "intervals": {0.9: bounds}, "reference": reference}


def test_the_example_of_the_rules(tmp_path: Path) -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    config, store, report = load_config(tomllib.loads(example)), Store(tmp_path), make_report(0.92)
    assert config.slices == ("speaker", "device+lighting")
    dark = figures(0.8, -0.06)
    parts = SliceReport(
        champion="3",
        whole=PartFigures.model_validate(figures(0.92, 0.0)),
        by=(),
        slices=(
            SliceFigures.model_validate({"slice": "speaker", "value": "ann", "shown": "ann"} | figures(0.86, 0.0)),
            SliceFigures.model_validate({"slice": "speaker", "value": "bob", "shown": "bob"} | figures(0.5, 0.0, 49)),
            SliceFigures.model_validate(
                {"slice": "device+lighting", "value": "phone+dark", "shown": "phone+dark"} | dark
            ),
        ),
        inputs={"image": PartFigures.model_validate(figures(0.85, -0.07))},
    )
    store.path(report.uri).mkdir(parents=True)
    (store.path(report.uri) / SLICES).write_text(parts.model_dump_json())
    verdict = gate(report, config, store)
    assert [(line.rule, line.outcome) for line in verdict.rules] == [
        ("accuracy >= 0.9", "pass"),
        ("accuracy on speaker=ann >= 0.8 at 90 %", "pass"),
        ("accuracy on device+lighting=phone+dark at most 0.05 worse than the champion", "needs-approval"),
        ("accuracy with image only at most 0.1 worse than with all modalities", "pass"),
        ("macro_f1 not worse than the champion", "pass"),
    ]
