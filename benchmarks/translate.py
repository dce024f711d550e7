"""Whether a generated input helps: words heard in sound, words seen in pictures, and pictures retrieved for captions.

    python -m benchmarks.translate [--only speech,labels,captions] [--rows 600,3000,3000] [--store DIR] [--set KEY=VALUE ...]

speech: Whisper's words for avdigits' sound, read by MiniLM, beside the sound itself (an encoder from scratch), on a speaker
that no training row has. labels: the names of the three ImageNet classes that mobilenet_v2 finds likeliest, read by MiniLM,
beside mobilenet_v2's embedding of the same pictures, to tell CIFAR-10's classes. captions: the pictures and captions of
benchmarks/captions.py; a pair of linear heads on frozen mobilenet_v2 and MiniLM, recall both ways, and the retrieved picture as
an input. Every comparison is `crossmodal translate`, its differences paired on the same test rows; one seed, one thread. A
broken run goes on from --store. CPU: of each command, without what was in the store before.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.captions import write_manifest
from benchmarks.measure import machine, program, time_command
from data_contracts.translation import TranslationReport

DATA, WEIGHTS = Path("../shared/data"), Path("../shared/weights")
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
ROWS = {"speech": 600, "labels": 3000, "captions": 3000}
"""The default: what a CPU core does in a quarter of an hour each."""


def main() -> None:
    """Prints a table for each comparison."""
    parser = argparse.ArgumentParser(description="Generated inputs against none")
    parser.add_argument("--only", default=",".join(ROWS))
    parser.add_argument("--rows", default=",".join(map(str, ROWS.values())), help="of speech, labels and captions")
    parser.add_argument("--store", help="keep what is computed here; a broken run goes on from it")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="settings")
    options = parser.parse_args()
    rows = dict(zip(ROWS, map(int, options.rows.split(",")), strict=True))
    print(machine("torch", "torchvision", "transformers"), flush=True)
    with ExitStack() as stack:
        place = Path(options.store or stack.enter_context(tempfile.TemporaryDirectory()))
        for name in options.only.split(","):
            settings = [*settings_of(name, place), f"data.max_rows={rows[name]}", "train.threads=1", *options.settings]
            show(name, rows[name], settings, place)


def settings_of(name: str, place: Path) -> list[str]:
    """The data and the settings of one comparison."""
    place.mkdir(parents=True, exist_ok=True)
    words = f"encoders.text=hf:{(WEIGHTS / 'minilm').resolve()}"
    network = f"mobilenet_v2@{(WEIGHTS / 'mobilenet_v2-imagenet.safetensors').resolve()}"
    pictures = [f"encoders.image=torchvision:{network}", "encoders.image_px=96"]
    if name == "speech":
        data, generator = DATA / "avdigits/manifest.csv", f"whisper:{(WEIGHTS / 'whisper-tiny-en').resolve()}"
        own = ["translate.source=audio", "translate.target=text", words]
        own += ["translate.max_new_tokens=16", "translate.shard_rows=64"]
    elif name == "labels":
        data, generator = DATA / "cifar10_12k/manifest.csv", f"imagenet-labels:{network}"
        own = ["translate.source=image", "translate.target=text", words, *pictures]
    else:
        source = (DATA / "cifar10_12k").resolve()
        data, generator = write_manifest(source, place / "captions.csv"), "retrieval"
        own = ["translate.source=text", "translate.target=image", "split.near_duplicates=false", words, *pictures]
        own.append(f"data.allowed_roots={json.dumps([str(source)])}")
    return [f"data.path={data.resolve()}", f"translate.generator={generator}", f"name={name}", *own]


def show(name: str, rows: int, settings: Sequence[str], place: Path) -> None:
    """Runs one comparison and prints its tables."""
    flags = [part for setting in settings for part in ("--set", setting)]
    timed = time_command([program("crossmodal"), "translate", "--store", str(place / name), "--json", *flags])
    folder = (place / name / timed.summary["report"]).parent
    report = TranslationReport.model_validate_json((folder / "translation.json").read_text(encoding="utf-8"))
    what = f"{report.target} from {report.source} by {report.generator}"
    media = f"{report.computed:,} media generated, {report.reused:,} in the store before"
    print(f"\n{name}: {rows:,} rows, {what}; {timed.cpu_s:.0f} s of CPU; {media}")
    print("\n| model of | test rows | accuracy (95 %) | against the first: points (95 %) |\n|---|---|---|---|")
    paired = {pairing.theirs: pairing.differences["accuracy"] for pairing in report.pairings}
    for arm in report.arms:
        low, high = arm.intervals["accuracy"]
        found = paired.get(arm.plan.name)
        points = [] if found is None else [-100 * found[each] for each in (0, 2, 1)]
        beside = "{:+.1f} ({:+.1f} to {:+.1f})".format(*points) if points else ""
        accuracy = 100 * (arm.metrics["accuracy"] or 0)
        print(f"| {arm.plan.name} | {arm.rows} | {accuracy:.1f} % ({100 * low:.1f} to {100 * high:.1f}) | {beside} |")
    for recall in report.pair.recalls if report.pair else ():
        low, high = recall.interval
        text = f"{recall.value:.2%} ({low:.2%} to {high:.2%}), by lot {recall.chance:.2%}, among {recall.gallery:,}"
        print(f"recall@{recall.k} {recall.query} to {recall.answer}: {text}")
    if report.pair:
        print(f"retrieved from a training row of the same label: {report.pair.same_label or 0:.1%}")
    if name == "speech":
        print(word_accuracy(folder / "rows.csv"))


def word_accuracy(path: Path) -> str:
    """How often the words name the digit, by split: as a word or a numeral, whatever the case and the punctuation."""
    found = []
    lines = list(csv.DictReader(path.open(encoding="utf-8")))
    for split in ("train", "val", "test"):
        own = [line for line in lines if line["split"] == split]
        right = sum(names_digit(line["text"], line["label"]) for line in own)
        found.append(f"{split} {right / max(len(own), 1):.1%} of {len(own)}")
    return f"word accuracy: {', '.join(found)}"


def names_digit(text: str, label: str) -> bool:
    """Whether a text is this digit."""
    words = re.findall(r"[a-z]+|\d", text.lower())
    return words in ([label], [DIGITS[int(label)]])


if __name__ == "__main__":
    main()
