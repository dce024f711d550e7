"""What fusions learn where only picture and words together say the label: colours that agree, and questions about shapes.

    python -m benchmarks.interactions [--only match,questions] [--kinds concat,gated,attention,bilinear] [--rows 3000,6000]
                                      [--seeds 1] [--store DIR] [--set KEY=VALUE ...]

match: a picture of one shape, and words that name a colour and a shape; the label says whether they fit. Either alone says
nothing: both labels are as frequent for every picture and for every text. questions: 2 to 4 shapes at random places of 64 x 64
pixels, and a question on them; 13 answers. Each question has one answer that is right in 67 % of its rows, so words only reach
about two thirds. Both are manifests with splits, and pass through ordinary trainings of `tiny` encoders: both inputs
under every kind, then pictures only. Of words only, the most frequent answer to each text in training is counted: without the
pictures all rows are equal texts of different labels, which ingest refuses. One thread. A broken run goes on from --store.
"""

from __future__ import annotations

import argparse
import csv
import math
import random
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw

from benchmarks.measure import TINY, machine
from benchmarks.training_run import TrainingRun, train_and_evaluate

SIDE = 64  # pixels
RADIUS = (7, 10)  # of a shape, pixels
COLOURS = {
    "red": (220, 40, 40),
    "green": (40, 170, 60),
    "blue": (50, 80, 220),
    "yellow": (235, 210, 50),
    "purple": (150, 50, 170),
}
SHAPES = ("circle", "square", "triangle")
COUNTS = {2: "two", 3: "three", 4: "four"}
SIDES = {"left of": (-1, 0), "right of": (1, 0), "above": (0, -1), "below": (0, 1)}
FREQUENT = 0.67
"""Share of a question's rows whose answer is the frequent one."""
SHARES = {"exists": 3, "colour": 2, "shape": 2, "count": 1, "relation": 2}
DRAWS = 2000
"""Scenes drawn for a question and its answer before another question is taken."""


@dataclass(frozen=True)
class Thing:
    """A shape of a picture."""

    shape: str
    colour: str
    x: int
    y: int
    radius: int


@dataclass(frozen=True)
class Question:
    """A question: what it is about, its words, and the answers that it can have, the frequent one first."""

    kind: str
    subject: tuple[str, ...]
    words: str
    answers: tuple[str, ...]


def main() -> None:
    """Prints a table for each set."""
    parser = argparse.ArgumentParser(description="Fusions where only the interaction carries the label")
    parser.add_argument("--only", default="match,questions")
    parser.add_argument("--kinds", default="concat,gated,attention,bilinear")
    parser.add_argument("--rows", default="3000,6000", help="train rows of match and of questions")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--store", help="keep what is computed here; a broken run goes on from it")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="of every training")
    options = parser.parse_args()
    print(machine("torch"), flush=True)
    rows = dict(zip(WRITERS, map(int, options.rows.split(",")), strict=True))
    variants = {f"picture and words, {kind}": [f"fusion.kind={kind}"] for kind in options.kinds.split(",")}
    variants["picture only"] = ["encoders.text=off"]
    with ExitStack() as stack:
        place = Path(options.store or stack.enter_context(tempfile.TemporaryDirectory()))
        for name in options.only.split(","):
            manifest = write_set(name, rows[name], place / f"{name}-{rows[name]}")
            words = f"words only, their most frequent answer in training: {100 * words_accuracy(manifest):.1f} %"
            print(f"\n{name}, {rows[name]:,} train rows; {words}\n\n{HEADER}", flush=True)
            for seed in range(options.seeds):
                for variant, change in variants.items():
                    asked = [*TINY, *options.set, *change]
                    settings = ["train.threads=1", "split.near_duplicates=false", f"seed={seed}", *asked]
                    run = train_and_evaluate(str(manifest), settings, place / "store")
                    print(line(variant, seed, run), flush=True)


HEADER = "| trained on | seed | test accuracy (95 %) | weights | epochs | training s | CPU s |\n|---|---|---|---|---|---|---|"


def line(name: str, seed: int, run: TrainingRun) -> str:
    """A row of the table."""
    low, high = run.report.intervals["accuracy"]
    accuracy = f"{100 * run.accuracy:.1f} % ({100 * low:.1f} to {100 * high:.1f})"
    epochs = len(run.history["epochs"])
    return f"| {name} | {seed} | {accuracy} | {run.history['parameters']:,} | {epochs} | {run.train_s:.0f} | {run.cpu_s:.0f} |"


def words_accuracy(manifest: Path) -> float:
    """Share of test rows whose label is the most frequent one of their text among the train rows."""
    with manifest.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    labels: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        labels[row["text"]][row["label"]] += row["split"] == "train"
    test = [row for row in rows if row["split"] == "test"]
    return sum(labels[row["text"]].most_common(1)[0][0] == row["label"] for row in test) / len(test)


def write_set(name: str, rows: int, folder: Path) -> Path:
    """A manifest with its pictures; validation and test rows are a quarter of the train rows each. The same every time."""
    splits = {"train": rows, "val": rows // 4, "test": rows // 4}
    draw = random.Random(0)
    drawn = WRITERS[name](draw)
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("id", "image", "text", "label", "split"))
        for split, count in splits.items():
            for n in range(count):
                scene, words, label = next(drawn)
                path = f"pictures/{split}-{n}.png"
                picture(scene, draw).save(folder / path)
                writer.writerow((f"{split}-{n}", path, words, label, split))
    return folder / "manifest.csv"


def match_rows(draw: random.Random) -> Iterator[tuple[list[Thing], str, str]]:
    """Endless (scene of one shape, words, "yes" where they fit): a fair coin, and another shape or colour where it says no."""
    kinds = [(colour, shape) for colour in COLOURS for shape in SHAPES]
    while True:
        colour, shape = named = draw.choice(kinds)
        fits = draw.random() < 0.5
        scene = scene_of([named if fits else draw.choice([kind for kind in kinds if kind != named])], draw)
        yield scene, f"a {colour} {shape}", "yes" if fits else "no"


def question_rows(draw: random.Random) -> Iterator[tuple[list[Thing], str, str]]:
    """Endless (scene, question, answer)."""
    asked = questions()
    while True:
        kind = draw.choices(list(SHARES), list(SHARES.values()))[0]
        question = draw.choice(asked[kind])
        frequent, *others = question.answers
        wanted = frequent if draw.random() < FREQUENT else draw.choice(others)
        for _ in range(DRAWS):
            scene = scene_of(
                [(draw.choice(list(COLOURS)), draw.choice(SHAPES)) for _ in range(draw.choice((2, 3, 4)))], draw
            )
            if answer(question, scene) == wanted:
                yield scene, question.words, wanted
                break


WRITERS = {"match": match_rows, "questions": question_rows}


def questions() -> dict[str, list[Question]]:
    """Every question, by kind. Which answer is the frequent one goes round, so that the kind does not tell it."""
    colours, counts = tuple(COLOURS), tuple(COUNTS.values())
    pairs = [(colour, shape) for colour in colours for shape in SHAPES]
    return {
        "exists": [
            Question("exists", pair, f"is there a {' '.join(pair)}?", turned(("yes", "no"), n))
            for n, pair in enumerate(pairs)
        ],
        "colour": [
            Question("colour", (shape,), f"what colour is the {shape}?", turned(colours, n))
            for n, shape in enumerate(SHAPES)
        ],
        "shape": [
            Question("shape", (colour,), f"what shape is the {colour} thing?", turned(SHAPES, n))
            for n, colour in enumerate(colours)
        ],
        "count": [Question("count", (), "how many shapes are there?", turned(counts, 1))],
        "relation": [
            Question("relation", (*pair, side), f"what is {side} the {' '.join(pair)}?", turned(SHAPES, n + k))
            for n, pair in enumerate(pairs)
            for k, side in enumerate(SIDES)
        ],
    }


def turned(answers: tuple[str, ...], places: int) -> tuple[str, ...]:
    """The answers, begun elsewhere."""
    start = places % len(answers)
    return answers[start:] + answers[:start]


def answer(question: Question, scene: Sequence[Thing]) -> str | None:
    """The one right answer; None where the scene has none, or several."""
    if question.kind == "exists":
        return "yes" if any((each.colour, each.shape) == question.subject for each in scene) else "no"
    if question.kind == "count":
        return COUNTS[len(scene)]
    if question.kind == "colour":
        found = [each.colour for each in scene if each.shape == question.subject[0]]
    elif question.kind == "shape":
        found = [each.shape for each in scene if each.colour == question.subject[0]]
    else:
        *pair, side = question.subject
        about = [each for each in scene if [each.colour, each.shape] == pair]
        if len(about) != 1:
            return None
        found = [each.shape for each in scene if each != about[0] and is_beside(each, about[0], SIDES[side])]
    return found[0] if len(found) == 1 else None


def is_beside(thing: Thing, other: Thing, side: tuple[int, int]) -> bool:
    """Whether one lies on that side of the other: within 45 degrees of the direction."""
    along = (thing.x - other.x) * side[0] + (thing.y - other.y) * side[1]
    across = (thing.x - other.x) * side[1] - (thing.y - other.y) * side[0]
    return along > abs(across)


def scene_of(kinds: Sequence[tuple[str, str]], draw: random.Random) -> list[Thing]:
    """Shapes of these colours at random places, none over another."""
    while True:
        things: list[Thing] = []
        for colour, shape in kinds:
            radius = draw.randint(*RADIUS)
            x, y = (draw.randint(radius + 1, SIDE - radius - 2) for _ in range(2))
            things.append(Thing(shape, colour, x, y, radius))
        pairs = [(one, other) for n, one in enumerate(things) for other in things[:n]]
        if all(math.hypot(one.x - two.x, one.y - two.y) > one.radius + two.radius + 2 for one, two in pairs):
            return things


def picture(scene: Sequence[Thing], draw: random.Random) -> Image.Image:
    """Drawn on a grey ground of random brightness, colours a little different in each."""
    grey = draw.randint(0, 60)
    image = Image.new("RGB", (SIDE, SIDE), (grey, grey, grey))
    pen = ImageDraw.Draw(image)
    for each in scene:
        colour = tuple(min(255, max(0, part + draw.randint(-15, 15))) for part in COLOURS[each.colour])
        left, top, right, bottom = (
            each.x - each.radius, each.y - each.radius, each.x + each.radius, each.y + each.radius,
        )  # fmt: skip
        if each.shape == "circle":
            pen.ellipse((left, top, right, bottom), fill=colour)
        elif each.shape == "square":
            inset = each.radius // 6
            pen.rectangle((left + inset, top + inset, right - inset, bottom - inset), fill=colour)
        else:
            pen.polygon([(each.x, top), (right, bottom), (left, bottom)], fill=colour)
    return image


if __name__ == "__main__":
    main()
