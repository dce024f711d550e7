"""How time and memory of check, extract, train and evaluate grow with the rows.

    python -m benchmarks.pipeline_scale [--rows 10000,100000,1000000] [--embeddings] [--plot docs/scale.png] [--set KEY=VALUE]…

Each size is a `crossmodal check` and then a `crossmodal retrain --plain` in a store of its own, whose seconds are
added. Texts of 8 to 24 words of 20,000, of which one tells the class in two rows of three; a BERT of random weights
(one layer, 64 wide) embeds them, and a head is trained for three epochs. With --embeddings that network is not run:
vectors of 64 numbers that are drawn around a centre for each class are put into the store as its features after the
check. Printed: rows, seconds of each stage as the summaries have them, CPU seconds of all, the peak memory of the process
itself (in all, and without pages of files, which the system can take back) and that of all its children together (looked at
five times a second; pages that they share count in each), and per stage and of the CPU seconds the exponent of a line
through the logarithms: 1 is linear. The seconds that every run takes whatever its rows (starts, imports) make it smaller;
of three sizes the first is left out.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

import numpy as np
import psutil

from benchmarks.measure import machine, program

LABELS, WORDS, WIDTH = 10, 20_000, 64
STAGES = ("ingest", "validate", "extract", "train", "evaluate")
_PART = 20_000


class Figures(TypedDict):
    """Of one run."""

    rows: int
    seconds: dict[str, float]
    cpu_s: float
    """Of the process and its children."""
    peak_mb: float
    private_mb: float
    """Of `peak_mb` what is no page of a file."""
    children_mb: float
    accuracy: float


class Usage(TypedDict):
    """Of one command, children included in `cpu_s`."""

    cpu_s: float
    peak_mb: float
    private_mb: float
    children_mb: float


def main() -> None:
    """Prints a line for each size, then the exponents; draws them where --plot asks."""
    parser = argparse.ArgumentParser(description="A retrain by the number of its rows")
    parser.add_argument("--rows", default="10000,100000,1000000")
    parser.add_argument("--embeddings", action="store_true", help="features are in the store, and no network is run")
    parser.add_argument(
        "--keep", type=Path, help="a JSON file of figures: those of sizes measured before are taken from it"
    )
    parser.add_argument("--plot", type=Path, help="a PNG of seconds and memory by rows")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args()
    print(machine("pyarrow", "torch", "transformers"))
    found: list[Figures] = []
    known = json.loads(options.keep.read_text()) if options.keep and options.keep.exists() else {}
    for rows in map(int, options.rows.split(",")):
        figures = known.get(str(rows)) or run_once(rows, options.overrides, embeddings=options.embeddings)
        found.append(figures)
        if options.keep:
            known[str(rows)] = figures
            options.keep.write_text(json.dumps(known, indent=1))
        stages = ", ".join(f"{stage} {figures['seconds'][stage]:.1f}" for stage in STAGES)
        print(
            f"{rows:>9,} rows: {figures['seconds']['total']:.1f} s ({stages}), {figures['cpu_s']:.0f} s CPU, "
            f"{figures['peak_mb']:.0f} MB ({figures['private_mb']:.0f} without files), children "
            f"{figures['children_mb']:.0f} MB; accuracy {figures['accuracy']:.3f}",
            flush=True,
        )
    if len(found) > 1:
        print(", ".join(f"{stage} {exponent(found, stage):.2f}" for stage in (*STAGES, "total", "cpu")), "(exponents)")
    if options.plot:
        draw(found, options.plot, "embeddings" if options.embeddings else "texts")


def run_once(rows: int, overrides: Sequence[str], *, embeddings: bool) -> Figures:
    """Writes the data, and measures a retrain on them."""
    with tempfile.TemporaryDirectory() as folder:
        place, store = Path(folder), Path(folder) / "store"
        words = make_words()
        manifest, encoder = write_texts(place, rows, words), write_encoder(place / "encoder", words)
        settings = [f"encoders.text=hf:{encoder}", "train.epochs=3", "evaluate.classical_rows=0", *overrides]
        told = [part for setting in settings for part in ("--set", setting)]
        shared = ["--store", str(store), "--json", *told]
        line, checking = _run([program("crossmodal"), "check", str(manifest), *shared])
        checked = json.loads(line)["seconds"]
        print(
            f"{rows:>9,} rows, check: {checked['total']:.1f} s, {checking['cpu_s']:.0f} s CPU, "
            f"{checking['peak_mb']:.0f} MB, children {checking['children_mb']:.0f} MB",
            flush=True,
        )
        if embeddings:
            put_embeddings(store, settings)
        line, training = _run([program("crossmodal"), "retrain", "--plain", "--data", str(manifest), *shared])
        summary = json.loads(line)
        if summary.get("error"):
            raise RuntimeError(summary["error"])
        seconds = {stage: spent + checked[stage] for stage, spent in summary["seconds"].items() if stage in checked}
        return {
            "rows": rows,
            "seconds": seconds,
            "cpu_s": checking["cpu_s"] + training["cpu_s"],
            "peak_mb": max(checking["peak_mb"], training["peak_mb"]),
            "private_mb": max(checking["private_mb"], training["private_mb"]),
            "children_mb": max(checking["children_mb"], training["children_mb"]),
            "accuracy": summary["metrics"]["test"]["accuracy"],
        }


def _run(command: Sequence[str]) -> tuple[str, Usage]:
    """The last line that a command says, and what it used. RuntimeError where it fails."""
    used: Usage = {"cpu_s": 0.0, "peak_mb": 0.0, "private_mb": 0.0, "children_mb": 0.0}
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen(command, stdout=out, stderr=err)
        watched = psutil.Process(process.pid)
        while process.poll() is None:
            try:
                memory, times = watched.memory_info(), watched.cpu_times()
            except psutil.Error:
                break
            used["peak_mb"] = max(used["peak_mb"], memory.rss / 2**20)
            used["private_mb"] = max(used["private_mb"], (memory.rss - memory.shared) / 2**20)
            used["cpu_s"] = times.user + times.system + times.children_user + times.children_system
            total = 0
            for child in watched.children(recursive=True):
                try:
                    total += child.memory_info().rss
                except psutil.Error:  # it has ended
                    continue
            used["children_mb"] = max(used["children_mb"], total / 2**20)
            time.sleep(0.2)
        if process.wait() != 0:
            err.seek(0)
            raise RuntimeError(f"status {process.returncode}: {err.read()[-2000:]}")
        out.seek(0)
        return out.read().strip().splitlines()[-1], used


def make_words() -> list[str]:
    """So many different words of 3 to 9 letters."""
    rng = np.random.default_rng(0)
    letters = list("abcdefghijklmnopqrstuvwxyz")
    words: dict[str, None] = {}
    while len(words) < WORDS:
        words["".join(rng.choice(letters, rng.integers(3, 10)))] = None
    return list(words)


def write_texts(folder: Path, rows: int, words: Sequence[str]) -> Path:
    """A CSV of id, text and label."""
    rng, known = np.random.default_rng(1), np.array(words)
    path = folder / "texts.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text", "label"])
        for row in range(rows):
            chosen = known[rng.integers(LABELS, WORDS, rng.integers(8, 25))]
            if rng.random() < 2 / 3:
                chosen[0] = known[row % LABELS]
            writer.writerow([f"row-{row:08}", " ".join(chosen), f"class {row % LABELS}"])
    return path


def write_encoder(folder: Path, words: Sequence[str]) -> Path:
    """A BERT of random weights that knows the words."""
    import torch
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    numbers = {word: number for number, word in enumerate(["[PAD]", "[UNK]", *words])}
    tokenizer = Tokenizer(WordLevel(numbers, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {"hidden_size": WIDTH, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": WIDTH}
    BertModel(BertConfig(vocab_size=len(numbers), max_position_embeddings=64, **sizes)).save_pretrained(folder)
    return folder


def put_embeddings(place: Path, settings: Sequence[str]) -> None:
    """The store has vectors as the features of all texts that the check has found."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from data_contracts.tables import features_schema
    from tasks.config import load_config
    from tasks.extract.extract import features_fingerprint, features_kind
    from tasks.media.media_store import media_fingerprint
    from tasks.store import Store, digest_json

    config, store, rng = load_config({}, list(settings)), Store(place), np.random.default_rng(2)
    fingerprint = features_fingerprint("text", media_fingerprint("text", config.media), config)
    centres = rng.normal(size=(LABELS, WIDTH))
    (clean,) = (place / "clean").glob("*/samples.parquet")
    schema = features_schema("float32", WIDTH, {"shape": [WIDTH]})
    with pq.ParquetFile(clean) as file:
        for batch in file.iter_batches(_PART, columns=["text", "label"]):
            classes = np.array([int(label.split()[1]) for label in batch["label"].to_pylist()])
            values = (centres[classes] + 2 * rng.normal(size=(len(classes), WIDTH))).astype(np.float32)
            lists = pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), WIDTH)
            shapes = pa.array([[WIDTH]] * len(classes), pa.list_(pa.int32()))
            table = pa.Table.from_arrays([batch["text"], shapes, lists], schema=schema)
            key = digest_json([fingerprint, batch["text"].to_pylist()])
            store.put_part(features_kind("text", fingerprint), key[:16], table)


def exponent(found: Sequence[Figures], stage: str) -> float:
    """Of the power of the rows by which the seconds of a stage, or "cpu" seconds, grow, from the second size on where there
    are three."""
    used = found[1:] if len(found) > 2 else found
    spent = [each["cpu_s"] if stage == "cpu" else each["seconds"][stage] for each in used]
    rows, seconds = [each["rows"] for each in used], [max(each, 0.01) for each in spent]
    return float(np.polyfit(np.log(rows), np.log(seconds), 1)[0])


def draw(found: Sequence[Figures], path: Path, name: str) -> None:
    """Seconds by stage, and memory, over the rows, both axes by powers of ten."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    rows = np.array([each["rows"] for each in found])
    for stage in (*STAGES, "total"):
        seconds = [each["seconds"][stage] for each in found]
        left.plot(rows, seconds, "o-", label=stage, linewidth=2 if stage == "total" else 1)
    cpu = [each["cpu_s"] for each in found]
    left.plot(rows, cpu, "s--", color="black", linewidth=1, label="CPU seconds of all")
    left.plot(rows, cpu[-1] * rows / rows[-1], "k:", linewidth=1, label="linear")
    left.set(xscale="log", yscale="log", xlabel="rows", ylabel="seconds", title=f"{name}: seconds by stage")
    left.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=4)
    right.plot(rows, [each["peak_mb"] for each in found], "o-", label="the process")
    right.plot(rows, [each["private_mb"] for each in found], "o-", label="the process, without pages of files")
    right.plot(rows, [each["children_mb"] for each in found], "o-", label="its children together")
    right.axhline(2048, color="black", linestyle=":", linewidth=1, label="2 GB")
    right.set(xscale="log", xlabel="rows", ylabel="MiB", ylim=(0, None), title="peak memory")
    right.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=2)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
