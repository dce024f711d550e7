"""`crossmodal gate power`: agrees with the simulated gate, and rests on the last evaluation that there is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.gate import MODES, simulate
from data_contracts.run_refs import RunRefs
from flows.cli import main
from tasks.config import GateConfig
from tasks.gate.power import assume_pairing, measure_power
from tests.support.gate_reports import against


@pytest.mark.parametrize(("mode", "place"), [("better", 0), ("not-worse", 1)])
def test_the_smallest_change_is_promoted_in_four_of_five_simulated_runs(mode: str, place: int) -> None:
    found = measure_power(assume_pairing(1_000, 0.95, "macro_f1", GateConfig()), "macro_f1", GateConfig())[place]
    assert found.smallest_change is not None
    cell = simulate(1_000, 0.95, 100 * found.smallest_change, 100, 100, {mode: MODES[mode]})
    assert cell.share(mode) == pytest.approx(0.8, abs=0.15)


def test_more_rows_show_less_and_few_show_nothing() -> None:
    found = [
        measure_power(assume_pairing(rows, 0.9, "macro_f1", GateConfig()), "macro_f1", GateConfig())
        for rows in (49, 50, 500, 5_000, 50_000)
    ]
    assert [(each.smallest_change, each.equal_promoted) for each in found[0]] == [(None, 0.0)] * 3
    for mode in range(3):
        changes = [each[mode].smallest_change or 0.0 for each in found[1:]]
        assert changes == sorted(changes, reverse=True)
        assert min(each[mode].smallest_change or 1.0 for each in found[1:]) > (0 if mode == 0 else -0.02)
        enough = {each[mode].enough_rows for each in found}
        assert max(filter(None, enough)) < 1.8 * min(filter(None, enough)), "told by few rows, it is told with doubt"


def said_by(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as end:
        main(["gate", "power", *arguments])
    said = capsys.readouterr()
    return int(end.value.code or 0), said.out, said.err


def test_it_rests_on_the_last_evaluation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = ("--store", str(tmp_path), "--profile", "digits")
    code, _, err = said_by(capsys, *place)
    assert code == 2
    assert (
        "model 'digits': no run of it has been evaluated yet; say how many test rows there will be with --rows" in err
    )
    code, out, _ = said_by(capsys, *place, "--rows", "1000", "--agreement", "0.95")
    assert code == 0
    assert out.startswith("digits: macro_f1 on 1,000 test rows, on 95.0% of which both models answer alike (assumed)")
    assert "from +0.020 on" in out
    reports = {
        "20261120-010000-aaaaaaaa": against(0.9, 0.0, -0.03, 0.03, champion_rows=400, champion_differing=40),
        "20261120-020000-bbbbbbbb": against(0.9, 0.0, -0.01, 0.01, champion_rows=500, champion_differing=20),
    }
    for run, report in reports.items():
        folder = tmp_path / "runs" / run
        folder.mkdir(parents=True)
        (folder / "refs.json").write_text(RunRefs(report=report).model_dump_json())
        (folder / "summary.json").write_text(json.dumps({"run": run, "model": {"name": "digits"}}))
        start = {"run": run, "flow": "retrain", "model": "digits", "data": "d", "host": "h", "pid": 1}
        (folder / "run.json").write_text(json.dumps({**start, "started": f"2026-11-20T0{run[10]}:00:00Z"}))
    code, out, _ = said_by(capsys, *place, "--json")
    found = json.loads(out)
    assert (found["run"], found["rows"], found["agreement"]) == ("20261120-020000-bbbbbbbb", 500, 0.96)
    assert found["modes"][0]["smallest_change"] == pytest.approx(0.01 * (1 + 0.84 / 2.09), rel=0.01)
