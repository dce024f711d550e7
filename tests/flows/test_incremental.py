"""What a change to data, encoders or settings makes a retrain compute: docs/incremental.md's table, row by row."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from data_contracts.refs import CheckpointRef, EvalReport, ValidatedRef
from flows.data_stages import extract_features, prepare
from flows.request import make_request
from flows.run_state import RunState
from flows.stages import Features, Stages
from tasks.config import RunConfig, load_config
from tasks.evaluate.evaluate import evaluate_key
from tasks.gate.gate import gate_key
from tasks.media.media_store import media_fingerprint, media_index
from tasks.store import Store
from tasks.train.request import TrainRequest
from tasks.train.train import train, train_key
from tests.support.data import SMALL, TINY, write_manifest, write_picture
from tests.support.markdown import tables_of, text_of
from tests.support.pretrained import write_bert

DOC = Path(__file__).parents[2] / "docs/incremental.md"
MODALITIES = ("image", "text")
Rows = list[dict[str, str]]


@dataclass(frozen=True)
class World:
    """A manifest, and the settings of a retrain."""

    folder: Path
    rows: Rows
    settings: Mapping[str, str]

    def with_cells(self, number: int, **cells: str) -> World:
        rows = [dict(row) for row in self.rows]
        rows[number].update(cells)
        return replace(self, rows=rows)

    def having(self, **settings: str) -> World:
        named = {name.replace("__", "."): value for name, value in settings.items()}
        return replace(self, settings={**self.settings, **named})


@dataclass(frozen=True)
class Data:
    """Where a retrain stands when its features are there."""

    config: RunConfig
    valid: ValidatedRef
    features: Features
    decoded: Mapping[str, int]


@dataclass(frozen=True)
class Trained:
    """A store with a whole retrain in it."""

    store: Path
    world: World
    checkpoint: CheckpointRef
    report: EvalReport


def _asked(data: Data) -> TrainRequest:
    return TrainRequest(valid=data.valid, features=data.features, config=data.config)


def count_media(store: Store, config: RunConfig) -> dict[str, int]:
    found = {name: media_index(store, name, media_fingerprint(name, config.media), ("source",)) for name in MODALITIES}
    return {name: len(index) for name, index in found.items()}


def up_to_features(world: World, store_root: Path) -> Data:
    manifest = write_manifest(world.folder / "manifest.csv", world.rows)
    settings = {"name": "delta", "data.path": str(manifest), **world.settings}
    config = load_config({}, [*TINY, *(f"{name}={value}" for name, value in settings.items())])
    request = make_request(config, str(store_root), None, "run")
    before = count_media(request.store, config)
    run_state = RunState()
    valid = prepare(request, config, Stages(), run_state)
    features = extract_features(valid, config, request.store, Stages(), run_state)
    after = count_media(request.store, config)
    return Data(config, valid, features, {name: after[name] - before[name] for name in MODALITIES})


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("incremental")
    rows = []
    for number in range(40):
        write_picture(folder / f"data/img/{number}.png", number)
        split = "test" if number < 10 else "val" if number < 16 else "train"
        words = f"it is {('low', 'high')[number % 2]} number {number}"
        rows.append({"id": f"s{number:02}", "image": f"img/{number}.png", "text": words, "label": "ab"[number % 2]})
        rows[-1].update(split=split, weight="1", place="here")
    settings = dict(value.split("=", 1) for value in SMALL)
    settings |= {
        "train.epochs": "1",
        "encoders.text": f"hf:{write_bert(folder / 'bert')}",
        "split.near_duplicates": "false",
    }
    world = World(folder / "data", rows, settings)
    data = up_to_features(world, folder / "store")
    store = Store(folder / "store")
    checkpoint = train(_asked(data), store, isolate=False)
    stages = Stages()
    report = stages.evaluate(data.valid, data.features, checkpoint, None, data.config, store)
    stages.gate(report, data.config, store)
    return Trained(folder / "store", world, checkpoint, report)


def edited(world: World) -> World:
    """A train row's picture is another one, under the same path."""
    write_picture(world.folder / "img/30.png", 1000)
    return world


def moved(world: World) -> World:
    """All pictures lie in another folder."""
    (world.folder / "img").rename(world.folder / "pictures")
    rows = [{**row, "image": row["image"].replace("img/", "pictures/")} for row in world.rows]
    return replace(world, rows=rows)


def added(world: World) -> World:
    """One more train row."""
    write_picture(world.folder / "img/new.png", 1001)
    row = {**world.rows[-1], "id": "new", "image": "img/new.png", "text": "it is low number 99"}
    return replace(world, rows=[*world.rows, row])


def with_another_column(world: World) -> World:
    """Further pictures of some rows."""
    rows = [{**row, "image_side": row["image"] if number % 2 else ""} for number, row in enumerate(world.rows)]
    for number in (0, 2):
        write_picture(world.folder / f"img/side{number}.png", 2000 + number)
        rows[number]["image_side"] = f"img/side{number}.png"
    return replace(world, rows=rows).having(data__columns__image='["image", "image_side"]')


def renamed(world: World) -> World:
    """The label's column has another name."""
    rows = [{("kind" if name == "label" else name): cell for name, cell in row.items()} for row in world.rows]
    return replace(world, rows=rows).having(data__columns__label="kind")


def with_another_text(world: World) -> World:
    """A second column of texts is read instead, which differs in two train rows."""
    rows = [{**row, "words": row["text"]} for row in world.rows]
    for number in (30, 31):
        rows[number]["words"] = f"it is other words {number}"
    return replace(world, rows=rows).having(data__columns__text="words")


def with_numbers(world: World) -> World:
    """A modality more: a column of numbers."""
    rows = [{**row, "size": f"{number / 7:.3f}"} for number, row in enumerate(world.rows)]
    return replace(world, rows=rows).having(data__columns__tabular='["size"]')


def swapped(world: World) -> World:
    """Two train rows have each other's text."""
    one, other = world.rows[30]["text"], world.rows[33]["text"]
    return world.with_cells(30, text=other).with_cells(33, text=one)


CHANGES: dict[str, Callable[[World], World]] = {
    "nothing": lambda world: world,
    "rows in another order": lambda world: replace(world, rows=world.rows[::-1]),
    "the media in another folder": moved,
    "a column that nothing reads": lambda world: world.with_cells(30, place="there"),
    "a row more in train": added,
    "a train row less": lambda world: replace(world, rows=world.rows[:-1]),
    "a picture of a train row, under the same path": edited,
    "a text of a train row": lambda world: world.with_cells(30, text="it is another text"),
    "two train rows' texts swapped": swapped,
    "a label of a train row": lambda world: world.with_cells(30, label="b"),
    "a label of a test row": lambda world: world.with_cells(0, label="b"),
    "a text of a test row": lambda world: world.with_cells(0, text="it is another text"),
    "a weight of a train row": lambda world: world.with_cells(30, weight="2").having(data__columns__weight="weight"),
    "a train row moved to test": lambda world: world.with_cells(30, split="test"),
    "the label's column under another name": renamed,
    "the text read from another column": with_another_text,
    "a second column of pictures": with_another_column,
    "a column of numbers": with_numbers,
    "the pictures left out": lambda world: world.having(encoders__image="off"),
    "the text left out": lambda world: world.having(encoders__text="off"),
    "another encoder of the text": lambda world: world.having(encoders__text="tiny"),
    "other weights of the text's encoder": lambda world: world.having(
        encoders__text=f"hf:{write_bert(world.folder / 'other', seed=1)}"
    ),
    "the same encoder from another folder": lambda world: world.having(
        encoders__text=f"hf:{write_bert(world.folder / 'same')}"
    ),
    "`extract.image_px`": lambda world: world.having(extract__image_px="16"),
    "`media.image_px`, the side of stored pictures": lambda world: world.having(media__image_px="12"),
    "`seed`, or a setting of `fusion` or `train`": lambda world: world.having(train__learning_rate="0.001"),
    "a setting of `evaluate`": lambda world: world.having(evaluate__slices='["place"]'),
    "a rule of the gate": lambda world: world.having(gate__margin="0.4"),
    "`runtime`, another number of threads": lambda world: world.having(runtime__workers="2"),
}


def measure(trained: Trained, world: World, store_root: Path) -> list[str]:
    """The cells of the table beside the change: what is computed anew."""
    data, store = up_to_features(world, store_root), Store(store_root)
    counts = [f"{data.decoded[name]}" for name in MODALITIES]
    for name in MODALITIES:
        found = [ref for input_name, ref in data.features.items() if input_name.partition("_")[0] == name]
        counts.append(f"{max(ref.computed for ref in found)}" if found else "–")
    key = train_key(_asked(data), store)
    if store.find("checkpoints", key) is None:
        return [*counts, "yes", "yes", "yes"]
    evaluated = store.find(
        "evaluations", evaluate_key(data.valid, data.features, trained.checkpoint, None, data.config, store)
    )
    if evaluated is None:
        return [*counts, "no", "yes", "yes"]
    judged = store.find("verdicts", gate_key(EvalReport.model_validate(evaluated.ref), data.config))
    return [*counts, "no", "no", "yes" if judged is None else "no"]


def rows_of_the_table() -> dict[str, list[str]]:
    table = tables_of(DOC.read_text(encoding="utf-8"))[0]
    return {row[0]: row[1:] for row in table[1:]}


def test_every_change_is_in_the_table() -> None:
    assert list(rows_of_the_table()) == [text_of(change) for change in CHANGES]


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_costs_what_the_table_says(change: str, trained: Trained, tmp_path: Path) -> None:
    store = shutil.copytree(trained.store, tmp_path / "store")
    folder = shutil.copytree(trained.world.folder, tmp_path / "data")
    world = CHANGES[change](replace(trained.world, folder=folder))
    assert measure(trained, world, store) == rows_of_the_table()[text_of(change)]
