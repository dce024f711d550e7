"""Every way to train, in two processes over gloo against one: the same curve, and a model that is really divided.

All variants run in the same two processes, one after the other: starting them takes longer than a variant.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from data_contracts.refs import Target
from tasks.modeling import encoders
from tasks.train.request import TrainJob
from tasks.train.train import train
from tests.waiting import wait_until

EXACT = ("fusion.dropout=0", "train.early_stopping_patience=100", "train.augment=false", "train.epochs=2")
ALL_MODALITIES = Target(name="kind", labels=("a", "b", "c"))
PRICE = Target(name="price", problem="regression")
MARKS = Target(name="marks", problem="multilabel", labels=("x", "y"))
UNEVEN = (
    "train.batch_size=5",
    "train.gradient_accumulation_steps=2",
)  # 16 rows: steps of 10 and 6, microbatches of 5, 5, 5, 1
# Two steps each at low rates: differences in the last digits of a random network's gradients double with every step.
TUNED = ("train.head_epochs=1", "train.epochs=1", "train.learning_rate=0.0003", "train.encoder_learning_rate=0.00003")


def _columns(rows):
    for n, row in enumerate(rows):
        cells = {"price": str(n % 5 + 0.5), "marks": "|".join(("x", "y")[: n % 3])}
        row["targets"] = json.dumps({name: cell for name, cell in cells.items() if n % 4 or name != "price"})


def _numbers(rows):
    for n, row in enumerate(rows):
        row["label"] = str(10 * "abc".index(row["label"]) + n / 10)


def _rare(rows):
    """One class in eight of ten rows."""
    for n, row in enumerate(rows):
        row["label"] = "bc"[n % 2] if n % 5 == 0 else "a"


def _seldom(rows):
    """A single training row has the second modality: in most steps no process has it, in one step one of them."""
    for n, row in enumerate(rows[:16]):
        if n != 3:
            row["video"] = None


EMBEDDED = {"width": 1024}
FRAMES = {"other": "video"}
TEXT = {"other": "text"}
SEVERAL = {"change": _columns, "targets": (ALL_MODALITIES, PRICE, MARKS)}
VARIANTS = {
    "columns": (EMBEDDED | SEVERAL, ()),
    "columns-plain": (EMBEDDED | SEVERAL, ("fusion.kind=late", "train.loss=focal", *UNEVEN)),
    "numbers": (EMBEDDED | {"change": _numbers, "targets": (PRICE,)}, ()),
    "class-weights": (EMBEDDED | {"change": _rare}, ("train.class_balance=class-weights",)),
    "sampler": (EMBEDDED | {"change": _rare}, ("train.class_balance=sampler",)),
    "lora": (FRAMES, ("train.regime=lora", *TUNED)),
    "full": (FRAMES, ("train.regime=full", *TUNED)),
    "tokens": (TEXT, ("train.max_tokens=40", "train.regime=full", *TUNED)),
    "fsdp-lacking": (EMBEDDED, ("train.strategy=fsdp",)),
    "fsdp-uneven": (EMBEDDED, ("train.strategy=fsdp", "fusion.shared_projection=true", *UNEVEN)),
    "fsdp-idle": (EMBEDDED, ("train.strategy=fsdp", "train.batch_size=3", "fusion.kind=late")),  # one row at the end
    "fsdp-columns": (EMBEDDED | SEVERAL, ("train.strategy=fsdp", "fusion.kind=attention")),
    "fsdp-seldom": (FRAMES | {"change": _seldom}, ("train.strategy=fsdp", "train.regime=full", *TUNED)),
    "fsdp-lora": (FRAMES, ("train.strategy=fsdp", "train.regime=lora", *TUNED)),
    "fsdp-last-n": (FRAMES, ("train.strategy=fsdp", "train.regime=last-n", "fusion.kind=gated", *TUNED)),
    "fsdp-full": (
        FRAMES,
        ("train.strategy=fsdp", "train.regime=full", "train.gradient_checkpointing=true", *UNEVEN, *TUNED),
    ),
    "fsdp-tokens": (TEXT, ("train.strategy=fsdp", "train.max_tokens=40", "train.regime=full", *TUNED)),
}


FAST = ("columns", "class-weights", "fsdp-lacking", "fsdp-uneven")
SLOW = tuple(name for name in VARIANTS if name not in FAST)
CASES = [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in VARIANTS]


@pytest.fixture(scope="module")
def find(make_lasting_world, lasting_shufflenet, tmp_path_factory):
    """find(variant) -> the folders that one process and two left; the slow variants are run at once, and so are the others."""
    done = {}

    def make(name):
        slow = name in SLOW
        if slow not in done:
            variants = {name: how for name, how in VARIANTS.items() if (name in SLOW) is slow}
            done[slow] = _train_all(variants, make_lasting_world, lasting_shufflenet, tmp_path_factory.mktemp("jobs"))
        return done[slow][name]

    return make


def _train_all(variants, make_world, shufflenet, folder):
    """Variant to the folders that one process and two left."""
    networks = (*shufflenet, shufflenet[0].replace("image", "video", 1))
    single, jobs = {}, []
    for name, (how, settings) in variants.items():
        read = networks[:2] if how.get("other") == "text" else networks  # texts are read by the tiny encoder
        world = make_world(*EXACT, *read, *settings, **how)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(encoders, "DROPOUT", 0.0)
            single[name] = world.store.path(train(*world.all, isolate=False).uri)
        several = world.config.train.model_copy(update={"devices": 2})
        job = TrainJob(
            valid=world.valid,
            features=world.features,
            config=world.config.model_copy(update={"train": several}),
            store=str(world.store.root),
        )
        (folder / name).mkdir()
        jobs.append({"job": job.model_dump(mode="json"), "work": str(folder / name)})
    (folder / "jobs.json").write_text(json.dumps(jobs))
    _run_both(folder / "jobs.json")
    return {name: (single[name], folder / name) for name in variants}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_two_processes_have_the_curve_of_one(find, name):
    folders = find(name)
    one, two = (json.loads((folder / "history.json").read_text())["epochs"] for folder in folders)
    assert len(one) == len(two) > 1
    for first, second in zip(one, two, strict=True):
        for figure in ("train_loss", "val_loss", "grad_norm"):
            assert second[figure] == pytest.approx(first[figure], abs=1e-4)
        assert second["learning_rate"] == first["learning_rate"]
        assert second["stage"] == first["stage"]
    weights = [load_file(folder / "model.safetensors") for folder in folders]
    assert weights[0].keys() == weights[1].keys()
    for key, tensor in weights[0].items():
        assert torch.allclose(tensor.float(), weights[1][key].float(), atol=2e-3), key


@pytest.mark.parametrize("name", [case for case in CASES if case.values[0].startswith("fsdp")])
def test_fsdp_divides_the_model_and_keeps_no_more_than_a_block_whole(find, name):
    reports = [json.loads((find(name)[1] / f"divided-{rank}.json").read_text()) for rank in range(2)]
    assert sum(each["own"] for each in reports) == reports[0]["elements"]
    for each in reports:
        assert each["own"] < 0.55 * each["elements"]  # the first process has the larger half of every tensor
        if VARIANTS[name][0].get("other") == "video":
            assert each["units"] == 1 + 2 * 18
            assert each["most"] < 0.4 * each["elements"]


def _start(rank, jobs):
    environment = os.environ | {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": "2",
        "OMP_NUM_THREADS": "1",
        "GLOO_SOCKET_IFNAME": "lo",
        "PYTHONPATH": str(Path(__file__).resolve().parents[3]),
    }
    program = Path(__file__).with_name("together.py")
    with jobs.with_name(f"log-{rank}").open("w") as log:
        return subprocess.Popen([sys.executable, str(program), str(rank), str(jobs)], stderr=log, env=environment)


def _run_both(jobs):
    """Both processes to their end; if one fails, the other is ended too."""
    started = [_start(rank, jobs) for rank in range(2)]
    try:
        wait_until(
            lambda: any(process.poll() for process in started) or all(process.poll() == 0 for process in started),
            "both have ended, or one has failed",
        )
        codes = [process.poll() for process in started]
        assert codes == [0, 0], [jobs.with_name(f"log-{rank}").read_text()[-3000:] for rank in range(2)]
    finally:
        for process in started:
            process.kill()
            process.wait()
