"""What two runs are compared by."""

from __future__ import annotations

from pathlib import Path

from data_contracts.encoder_choice import EncoderChoice
from data_contracts.run_refs import RunRefs
from flows.history import RUNS
from flows.records import CONFIG, REFS
from flows.run_diff import settings_of
from tasks.config import RunConfig, load_config
from tasks.encoder_ids import BLEND
from tasks.store import Store


def write_run(folder: Path, run: str, config: RunConfig, refs: RunRefs) -> None:
    place = folder / RUNS / run
    place.mkdir(parents=True)
    (place / CONFIG).write_text(config.model_dump_json(), encoding="utf-8")
    (place / REFS).write_text(refs.model_dump_json(), encoding="utf-8")


def test_a_run_that_blended_differs_from_one_of_its_network(tmp_path: Path) -> None:
    chosen = EncoderChoice(encoders={"image": BLEND, "text": "tiny", "audio": "tiny", "video": "tiny"})
    write_run(tmp_path, "blend", RunConfig(), RunRefs(encoder_choice=chosen))
    write_run(tmp_path, "network", load_config({}, ["encoders.image=tiny"]), RunRefs())
    store = Store(tmp_path, "look")
    blend, network = settings_of(store, "blend"), settings_of(store, "network")
    assert (blend["encoders.image"], network["encoders.image"]) == (BLEND, "tiny")
    assert blend["encoders.text"] == "tiny"
