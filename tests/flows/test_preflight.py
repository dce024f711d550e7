"""What can be known without data is checked first: every failure is named, and nothing has been decoded."""

from __future__ import annotations

import json
import socket
import sys
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows import preflight as module
from flows.cli import main
from flows.execute import execute
from flows.history import list_runs
from flows.preflight import failure, preflight, warnings
from flows.request import Request, make_request
from flows.run_failed import RunFailed
from flows.stages import Stages
from tasks.config import load_config
from tasks.devices import describe_device, visible_gpus
from tasks.errors import EnvironmentFailed, UsageError
from tasks.ingest import ingest as ingest_module

MakeRequest = Callable[..., Request]


@pytest.fixture
def ask(make_data: Callable[..., Path], tmp_path: Path) -> MakeRequest:
    """ask("train.epochs=2") is a request on small data, with a store of its own."""

    def make(*overrides: str, uri: str | None = None) -> Request:
        config = load_config({}, ["name=small", f"data.path={make_data()}", *overrides])
        return make_request(config, str(tmp_path / "store"), uri, "run-1")

    return make


def outcomes(request: Request) -> dict[str, str]:
    return {check.name: check.outcome for check in preflight(request)}


def test_all_is_well_without_heavy_libraries(ask: MakeRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("torch", "torchvision", "mlflow", "prefect"):
        monkeypatch.setitem(sys.modules, name, None)  # an import would raise
    checks = preflight(ask("train.threads=1", "train.device=cpu"))
    assert {check.name: check.outcome for check in checks} == dict.fromkeys(
        ("data", "decoders", "device", "disk", "registry", "champion"), "ok"
    )
    assert failure(checks) is None


def test_every_failure_is_named_at_once(ask: MakeRequest, tmp_path: Path) -> None:
    request = ask(
        "encoders.image=torchvision:resnet5@random",
        "encoders.text=hf:nobody/nothing",
        f"data.expectations={tmp_path / 'none.json'}",
        "data.path=nowhere.csv",
    )
    found = outcomes(request)
    assert [name for name, outcome in found.items() if outcome == "fail"] == [
        "data", "data.expectations", "encoders.image", "encoders.text",
    ]  # fmt: skip
    error = failure(preflight(request))
    assert isinstance(error, UsageError)
    text = str(error)
    assert "(1) data.path '" in text, "its name once"
    for part in ("nowhere.csv", "none.json", "near are", "crossmodal fetch hf:nobody/nothing"):
        assert part in text
    assert "\n" not in text


def test_weights_that_are_missing_end_a_run_before_anything_is_decoded(
    ask: MakeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[Any] = []
    real = ingest_module.decode_media
    monkeypatch.setattr(
        ingest_module, "decode_media", lambda *arguments, **more: (decoded.append(1), real(*arguments, **more))[1]
    )
    read: list[Any] = []
    stages = Stages(scan=lambda *arguments: read.append(arguments))  # type: ignore[arg-type, return-value]
    request = ask("encoders.image=torchvision:mobilenet_v2@gone.safetensors")
    with pytest.raises(UsageError, match=r"there is no file '.*gone.safetensors'"):
        execute(request, stages)
    assert (read, decoded) == ([], [])
    (record,) = list_runs(request.store.root)
    assert (record.status, record.model) == ("failed", "small")
    assert "gone.safetensors" in str(record.reason)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "no safetensors file"), (b"PK\x03\x04" * 9, "no safetensors file"), (None, "its header says")],
)
def test_damaged_weights_are_noticed(ask: MakeRequest, squeezenet: Path, content: bytes | None, message: str) -> None:
    whole = squeezenet.read_bytes()
    encoder = f"encoders.image=torchvision:squeezenet1_1@{squeezenet}"
    assert outcomes(ask(encoder))["encoders.image"] == "ok"
    squeezenet.write_bytes(whole[:-100] if content is None else content)
    error = failure(preflight(ask(encoder)))
    assert message in str(error)
    assert isinstance(error, UsageError)


def test_layers_of_what_is_trained_are_refused(ask: MakeRequest, squeezenet: Path) -> None:
    assert outcomes(ask("encoders.layers=auto"))["data"] == "ok"
    (wrong,) = [check for check in preflight(ask("encoders.layers.image=[3]")) if check.outcome == "fail"]
    assert wrong.detail.startswith("encoders.layers.image = [3]: tiny has no layers")
    frozen = f"encoders.image=torchvision:squeezenet1_1@{squeezenet}"
    assert outcomes(ask("encoders.layers.image=[3]", frozen))["encoders.image"] == "ok"


def test_the_names_of_networks_are_those_that_torchvision_has() -> None:
    import torchvision

    from tasks.modeling.pretrained.file_checks import torchvision_networks

    known = [torchvision.models.list_models(module=part) for part in (torchvision.models, torchvision.models.video)]
    assert {name for names in known for name in names} == torchvision_networks()


def test_a_registry_that_is_broken_or_silent_is_the_environment(ask: MakeRequest, tmp_path: Path) -> None:
    broken = tmp_path / "broken.db"
    broken.write_text("not a database")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for uri, message in (
        (f"sqlite:///{broken}", "not a sqlite database"),
        (f"http://me:secret@127.0.0.1:{port}", "does not answer"),
    ):
        checks = preflight(ask(uri=uri))
        assert "champion" not in {check.name for check in checks}, "not asked for"
        error = failure(checks)
        assert isinstance(error, EnvironmentFailed)
        assert message in str(error)
        assert "secret" not in "".join(check.detail for check in checks)


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 bytes"), (89, "89 bytes"), (4200, "4.2 kB"), (3.25e7, "32.5 MB"), (1.5e9, "1.5 GB")],
)
def test_a_size_is_never_0_of_a_unit(count: float, text: str) -> None:
    assert module._size(count) == text


def test_disk_space(ask: MakeRequest, monkeypatch: pytest.MonkeyPatch, squeezenet: Path) -> None:
    usage = namedtuple("usage", "total used free")

    def free(count: float) -> None:
        monkeypatch.setattr(module.shutil, "disk_usage", lambda path: usage(0, 0, int(count)))

    free(199e6)
    assert outcomes(ask())["disk"] == "fail"
    free(200e6 + 10)
    checks = preflight(ask())
    assert {check.name: check.outcome for check in checks}["disk"] == "warn"
    assert [text.partition(":")[0] for text in warnings(checks)][-1] == "disk"
    trained = ("train.regime=full", f"encoders.image=torchvision:squeezenet1_1@{squeezenet}")
    free(200e6 + 4 * squeezenet.stat().st_size - 1)
    assert outcomes(ask(*trained))["disk"] == "fail"


def test_gpus_are_those_that_the_driver_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tasks import devices

    for number in (0, 1):
        (tmp_path / f"{number}").mkdir()
        (tmp_path / f"{number}/information").write_text(f"Model: \t\t NVIDIA H{number}00\nIRQ: 1\n")
    monkeypatch.setattr(devices, "DRIVER", tmp_path)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert visible_gpus() == ["NVIDIA H000", "NVIDIA H100"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert visible_gpus() == ["NVIDIA H100"]
    fine, message = describe_device(load_config({}, ["train.devices=2"]).train)
    assert (fine, message.partition(";")[0]) == (False, "1 GPU: NVIDIA H100")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert visible_gpus() == []
    fine, message = describe_device(load_config({}, ["train.device=cpu", "train.threads=999"]).train)
    assert not fine
    assert "wait for each other" in message


def test_a_gpu_is_possible_where_linux_has_a_node_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tasks import devices

    monkeypatch.setattr(devices, "NODES", (tmp_path / "nvidiactl", tmp_path / "kfd"))
    assert not devices.may_have_gpu()
    (tmp_path / "kfd").touch()
    assert devices.may_have_gpu()


def test_plan_lists_the_checks(
    make_data: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = ["--data", str(make_data()), "--store", str(tmp_path / "store")]
    with pytest.raises(SystemExit) as stop:
        main(["plan", *place, "--json"])
    output = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert stop.value.code == 0
    assert {check["outcome"] for check in output["preflight"]} <= {"ok", "warn"}
    assert {line["count"] for line in output["plan"] if line["stage"].startswith("decode")} == {12}
    with pytest.raises(SystemExit) as stop:
        main(["plan", *place, "--set", "encoders.text=hf:nobody/nothing"])
    out, err = capsys.readouterr()
    assert stop.value.code == 2
    assert "champion" in out, "the other checks are shown too"
    assert "crossmodal fetch hf:nobody/nothing" in err
    assert not list((tmp_path / "store").glob("media/*")), "nothing was decoded"


def test_a_failed_check_is_in_the_summary(make_data: Callable[..., Path], tmp_path: Path, capsys: Any) -> None:
    with pytest.raises(SystemExit) as stop:
        main(
            [
                "retrain",
                "--plain",
                "--data",
                str(make_data()),
                "--store",
                str(tmp_path),
                "--set",
                "encoders.text=hf:no/no",
                "--json",
            ]
        )
    output = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert stop.value.code == 2
    assert [check["name"] for check in output["preflight"] if check["outcome"] == "fail"] == ["encoders.text"]
    assert output["error"]
    assert list_runs(tmp_path) == [], "a command that was mistyped is no run"


def test_a_broken_manifest_is_still_a_failed_run(ask: MakeRequest) -> None:
    request = ask("data.columns.label=nothing")
    with pytest.raises((RunFailed, UsageError)):
        execute(request, Stages())
    assert [record.status for record in list_runs(request.store.root)] == ["failed"]
