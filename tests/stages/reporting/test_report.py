"""The report: whole, self-contained, and safe whatever the data hold."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from data_contracts.baselines import ClassicalBaselines, CurvePoint, LinearBaseline
from data_contracts.refs import Compared
from data_contracts.training_history import StartChoice
from tasks.pages import visible
from tasks.reporting.formatting import percent, seconds, shorten
from tests.support.cards import write_card
from tests.support.rendered import TEN, render


@pytest.fixture(name="page")
def _page(make_run: Callable[..., Any], tmp_path: Path) -> str:
    return render(make_run(TEN), tmp_path)


HEADINGS = (
    "Promoted",
    "The gate's rules",
    "Against the champion",
    "What each modality contributes",
    "By modalities present",
    "Confusion matrix",
    "Learning curves and calibration",
    "Per class",
    "Most confident mistakes",
    "Rows that were not used",
    "Fingerprints",
    "Configuration",
)


def test_every_section_is_there(page: str) -> None:
    assert [heading for heading in HEADINGS if heading not in page] == []


def test_it_shows_what_the_run_found(page: str) -> None:
    assert "17 samples of the test split share their group with train" in page
    assert "column &#39;video&#39; is empty: left out" in page
    assert "truncated at byte 812" in page
    assert "and 2 more" in page
    assert "image + text + audio" in page
    assert "1,234,567 parameters" in page
    assert "2 min 53 s" in page


def test_it_names_no_external_address(page: str) -> None:
    assert "http://" not in page
    assert "https://" not in page
    sources = re.findall(r"""(?:src|href|data|action|poster)\s*=\s*["']([^"']*)""", page)
    assert sources
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert not re.search(r"@import|url\(|<script|<link|<iframe", page)


def test_hostile_values_stay_text(make_run: Callable[..., Any], tmp_path: Path) -> None:
    bad = "<script>alert(1)</script>{{7*7}}\"'><img src=x onerror=alert(1)>"
    run = make_run((bad, "b\u202ecba", "c\x00\x1b[31m"), skill=0.5, text=f"{bad}\u2066 and more")
    run.summary |= {"reason": bad, "run": bad, "model": {**run.summary["model"], "name": bad, "version": bad}}
    page = render(run, tmp_path)
    assert "<script" not in page
    assert "<img src=x" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;{{7*7}}" in page
    assert "49&#34;" not in page
    assert "b⟨U+202E⟩cba" in page
    assert "c⟨U+0000⟩⟨U+001B⟩[31m" in page
    assert "⟨U+2066⟩ and more" in page
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x00-\x08\x1b]", page)


@pytest.mark.parametrize("known", ["nothing", "clean", "valid", "checkpoint", "report"])
def test_it_renders_with_what_is_known(make_run: Callable[..., Any], tmp_path: Path, known: str) -> None:
    run = make_run(TEN)
    order = ["nothing", "clean", "valid", "checkpoint", "report", "verdict"]
    for name in order[order.index(known) + 1 :]:
        setattr(run.parts, name, None)
    run.summary |= {"verdict": None, "error": "train: killed", "reason": None, "model": None, "work": {}}
    page = render(run, tmp_path)
    assert "Failed" in page
    assert "train: killed" in page
    assert ("Rows that were not used" in page) == (known != "nothing")
    assert ("Confusion matrix" in page) == (known == "report")


def test_a_run_that_repeats_another_refers_to_its_report(make_run: Callable[..., Any], tmp_path: Path) -> None:
    run = make_run(TEN)
    whole = render(run, tmp_path)
    run.summary |= {"verdict": "unchanged", "reason": "nothing has changed", "repeats": "20261125-030000-1a2b3c4d"}
    page = render(run, tmp_path)
    assert '<a href="../20261125-030000-1a2b3c4d/report.html">' in page
    assert "nothing has changed" in page
    assert "The gate's rules" in page.replace("&#39;", "'")
    for picture in ("<img", "Confusion matrix", "Per class", "Rows that were not used", "over epochs"):
        assert picture in whole
        assert picture not in page
    assert len(page) < 0.5 * len(whole)


def test_an_empty_summary_renders(make_run: Callable[..., Any], tmp_path: Path) -> None:
    run = make_run(TEN)
    run.summary = {}
    for name in ("clean", "valid", "checkpoint", "report", "verdict"):
        setattr(run.parts, name, None)
    assert "Checked" in render(run, tmp_path)


def test_many_classes_are_capped_and_it_says_so(make_run: Callable[..., Any], tmp_path: Path) -> None:
    page = render(make_run(tuple(f"class {i:03d}" for i in range(150)), rows=2000), tmp_path)
    assert "20 of 150 classes are shown" in page
    assert "130 classes and" in page
    assert "The 40 classes with the lowest F1 are shown; 110 more are left out." in page
    assert len(page) < 2_000_000


def test_a_perfect_model_has_no_mistakes_to_show(make_run: Callable[..., Any], tmp_path: Path) -> None:
    page = render(make_run(TEN, skill=60.0), tmp_path)
    assert "None on the test rows." in page
    assert "Nothing was confused." in page


def test_media_that_are_gone_leave_their_place_empty(make_run: Callable[..., Any], tmp_path: Path) -> None:
    run = make_run(TEN)
    run.parts.clean = run.parts.clean.model_copy(update={"media": {"image": "0" * 64}})
    page = render(run, tmp_path)
    assert "<img" not in page
    assert "Most confident mistakes" in page


@pytest.mark.parametrize(
    ("text", "shown"),
    [("plain é 漢字", "plain é 漢字"), ("a\nb\tc", "a\nb\tc"), ("a\u200bb", "a⟨U+200B⟩b"), ("\ud800", "⟨U+D800⟩"),
     ("\u2028", "⟨U+2028⟩"), ("\x85", "⟨U+0085⟩")],
)  # fmt: skip
def test_what_cannot_be_seen_is_spelled_out(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_figures_are_written_for_people() -> None:
    assert [percent(v) for v in (None, 0.5, 0.9125, 0.99981, 1.0)] == ["–", "50.0 %", "91.2 %", "99.981 %", "100.0 %"]
    assert [seconds(v) for v in (0.04, 75.3, 7300)] == ["0.0 s", "1 min 15 s", "2 h 1 min"]
    assert shorten("class with a long name 017") == "class wit… name 017"


def with_history(run: Any, **more: Any) -> Any:
    path = run.store.path("checkpoints/k/history.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | more))
    return run


def test_the_linear_baseline_is_shown_beside_the_model(make_run: Callable[..., Any], tmp_path: Path) -> None:
    run = make_run(TEN)
    test = run.parts.report.metrics["test"]
    linear_baseline = LinearBaseline(
        metrics={**test, "accuracy": test["accuracy"] + 0.02}, c=0.001, rows=9000, width=1280,
        differences={"accuracy": (-0.02, -0.03, -0.01)}, notes=("fitted on 9,000 of 50,000 training rows",),
    )  # fmt: skip
    run.parts.report = run.parts.report.model_copy(update={"linear_baseline": linear_baseline})
    page = render(run, tmp_path)
    assert "Against a linear baseline" in page
    assert "1,280 of each row" in page
    assert "C = 0.001" in page
    assert "−3.0 to −1.0" in page
    assert "more than half a point less accurate than a linear one" in page
    assert "Baseline: fitted on 9,000 of 50,000 training rows." in page
    close = linear_baseline.model_copy(update={"differences": {"accuracy": (-0.005, -0.03, 0.01)}, "notes": ()})
    run.parts.report = run.parts.report.model_copy(update={"linear_baseline": close})
    assert "more than half a point" not in render(run, tmp_path)


def test_classical_features_are_shown_beside_the_model_with_what_more_rows_bring(
    make_run: Callable[..., Any], tmp_path: Path
) -> None:
    run = make_run(TEN)
    figures = LinearBaseline(
        metrics={"accuracy": 0.62}, c=0.003, rows=900, width=1156, differences={"accuracy": (-0.02, -0.03, -0.01)}
    )
    curve = tuple(
        CurvePoint(share=share, rows=round(900 * share), accuracy=reached, interval=(reached - 0.05, reached + 0.05))
        for share, reached in ((0.25, 0.5), (0.5, 0.58), (1.0, 0.62))
    )
    found = ClassicalBaselines(by_inputs={"image": figures}, curve=curve, gain=(0.04, 0.01, 0.07))
    run.parts.report = run.parts.report.model_copy(update={"classical": found})
    page = render(run, tmp_path)
    assert "Against classical features" in page
    assert "on the test rows the model is 2.0 points [1.0, 3.0] less accurate" in page
    assert "--set encoders.image=auto tries both and keeps what is better on the validation rows" in page
    assert "a pretrained encoder is worth trying: --preset fast (14 MB; docs/encoders.md)" in page
    assert "From 450 to 900 training rows its accuracy changed by +4.0 points [+1.0, +7.0]: more rows help" in page
    close = figures.model_copy(update={"differences": {"accuracy": (-0.005, -0.03, 0.01)}})
    unsure = found.model_copy(update={"by_inputs": {"image": close}, "gain": (0.01, -0.02, 0.03)})
    run.parts.report = run.parts.report.model_copy(update={"classical": unsure})
    page = render(run, tmp_path)
    assert "encoders.image=auto" not in page
    assert "do not show whether more rows help; doubling them brought +3.0 points at most" in page
    skipped = ClassicalBaselines(skipped="60,000 rows are more than evaluate.classical_rows = 20,000")
    run.parts.report = run.parts.report.model_copy(update={"classical": skipped})
    assert "Not measured: 60,000 rows are more than evaluate.classical_rows = 20,000." in render(run, tmp_path)


def test_training_tells_stages_speed_and_notes_that_were_recorded(make_run: Callable[..., Any], tmp_path: Path) -> None:
    run = make_run(TEN)
    plain = render(run, tmp_path)
    assert "Gradient norm" in plain
    assert "Learning rate" in plain
    assert not any(text in plain for text in ("Samples per second", "Best validation loss", "Decision thresholds"))
    epochs = json.loads(run.store.path("checkpoints/k/history.json").read_text())["epochs"]
    for epoch in epochs:
        epoch["stage"] = "head" if epoch["epoch"] <= 5 else "last-n"
    figures = {"samples_per_s": 1234.4, "mfu": 0.412, "notes": ["out of memory once: batch 64 to 32 <b>"]}
    page = render(with_history(run, epochs=epochs, figures=figures), tmp_path)
    assert '<td>head</td><td class="n">1 to 5</td><td class="n">15.0 s</td>' in page
    assert '<td>last-n</td><td class="n">6 to 12</td>' in page
    assert "1,234</td>" in page
    assert "41.2%" in page
    assert "Peak memory" not in page
    assert "batch 64 to 32 &lt;b&gt;" in page
    assert "upright: a new stage" in page


def test_tuned_thresholds_are_shown(make_run: Callable[..., Any], tmp_path: Path) -> None:
    run = make_run(TEN)
    record = {"macro_f1": 0.5, "tuned_macro_f1": 0.6, "left_out_macro_f1": 0.55, "used": True}
    folder = run.store.path("checkpoints/k")
    write_card(folder, TEN, decision={"offsets": [0.1 * i for i in range(10)]})
    page = render(with_history(run, thresholds=record), tmp_path)
    assert "55.0 % with values tuned on other rows" in page
    assert page.index("+0.900") < page.index("+0.100")
    write_card(folder, TEN)
    page = render(with_history(run, thresholds={**record, "used": False}), tmp_path)
    assert "They do not help on rows they were not tuned on, so they are not used" in page
    (folder / "model.json").write_text("{")
    assert "They do not help" in render(with_history(run, thresholds={**record, "used": False}), tmp_path)


def test_the_heads_that_one_was_chosen_from_are_a_table(make_run: Callable[..., Any], tmp_path: Path) -> None:
    run = make_run(TEN)
    assert "<h3>Heads</h3>" not in render(run, tmp_path)
    linear = {"fusion.kind": "linear", "train.standardize": True}
    common = {"best_epoch": 3, "seconds": 2.5}
    heads = [
        {**common, "settings": {}, "epochs": 8, "val_loss": 0.5, "figures": {"val_accuracy": 0.81}, "chosen": False},
        {**common, "settings": linear, "epochs": 5, "val_loss": 0.4, "figures": {"val_accuracy": 0.83}, "chosen": True},
    ]
    page = render(with_history(run, heads=heads), tmp_path)
    assert "2 heads were trained on the same frozen features" in page
    table = page[page.index("<h3>Heads</h3>") :].split("</table>")[0]
    lines = table.split("<tr>")[2:]
    assert [("chosen" in line, "as configured" in line) for line in lines] == [(True, False), (False, True)]
    assert "<code>fusion.kind = linear</code>" in lines[0]
    for shown in ("0.4000", "83.0", "5 (3)"):
        assert shown in lines[0]


def test_both_starts_of_a_training_are_a_table(make_run: Callable[..., Any], tmp_path: Path) -> None:
    run = make_run(TEN)
    run.parts.start_choice = StartChoice(why="version 3 has other labels")
    page = render(run, tmp_path)
    assert "<h3>Warm start</h3>" not in page
    assert "trained from scratch: version 3 has other labels" in page
    compared = [
        {"start": "champion", "epochs": 3, "val_loss": 0.4, "figures": {"val_accuracy": 0.83}, "seconds": 2, "chosen": True},
        {"start": "scratch", "epochs": 15, "val_loss": 0.5, "figures": {"val_accuracy": 0.81}, "seconds": 9, "chosen": False},
    ]  # fmt: skip
    changes = {"before": 200, "added": 8, "removed": 2, "altered": 1}
    start = {"champion": "c" * 64, "changes": changes, "compared": compared}
    page = render(with_history(run, start=start), tmp_path)
    table = page[page.index("<h3>Warm start</h3>") :].split("</table>")[0]
    assert "5.5 % of the champion&#39;s 200 train rows changed (8 added, 2 removed, 1 altered)" in table
    lines = table.split("<tr>")[2:]
    assert [("chosen" in line, "from scratch" in line) for line in lines] == [(True, False), (False, True)]
    for shown in ("0.4000", "83.0", '<td class="n">3</td>'):
        assert shown in lines[0]


def test_what_was_forgotten_is_shown(make_run: Callable[..., Any], tmp_path: Path) -> None:
    run = make_run(TEN)
    part = Compared(
        rows=200, candidate={"accuracy": 0.9, "macro_f1": None}, champion={"accuracy": 0.92, "macro_f1": None},
        differences={"accuracy": (-0.02, -0.05, 0.01)},
    )  # fmt: skip
    assert "Forgetting" not in render(run, tmp_path)
    parts = {"old": part, "new": part.model_copy(update={"rows": 1234})}
    run.parts.report = run.parts.report.model_copy(update={"forgetting": parts})
    start = {"notes": ["started from the champion: 7 of 9 tensors taken over"]}
    page = render(with_history(run, start=start), tmp_path)
    assert "<h2>Forgetting</h2>" in page
    assert '<td>new</td><td class="n">1,234</td>' in page
    assert "−5.0 to +1.0" in page
    assert "7 of 9 tensors taken over" in page
