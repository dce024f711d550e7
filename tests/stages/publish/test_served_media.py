"""MLflow's own interface, asked with files, base64, bytes and texts: it answers as crossmodal.load does."""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

import crossmodal
from crossmodal import RowsRefused
from tests.support.data import write_picture
from tests.support.registries import logged
from tests.waiting import wait_until

MakeCase = Callable[..., Any]
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def model_folder(make_case: MakeCase, bert: Path, quick: None, tmp_path: Path) -> Path:
    """The logged model of pictures and of texts, the latter read by a frozen encoder; all it was made from is gone."""
    case = make_case(encoder=bert)
    case.publish()
    folder = shutil.copytree(logged(case), tmp_path / "logged")
    shutil.rmtree(bert)
    shutil.rmtree(case.request.store.root)
    return folder


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    write_picture(tmp_path / "p.png", 3)
    return tmp_path / "p.png"


def expected_of(folder: Path, rows: list[dict[str, Any]]) -> np.ndarray:
    model = crossmodal.load(folder / "artifacts", store=folder.parent / "other")
    return np.array([list(answer.probabilities.values()) for answer in model.predict(rows)])


def test_a_data_frame_of_files_base64_bytes_and_texts(
    model_folder: Path, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow.pyfunc
    import pandas as pd

    model = mlflow.pyfunc.load_model(str(model_folder))
    content = picture.read_bytes()
    text = base64.b64encode(content).decode()
    pictures = [str(picture), content, text, f"data:image/png;base64,{text}", None, str(picture)]
    texts = [None, None, None, None, "it is low", "it is low"]
    answer = model.predict(pd.DataFrame({"image": pictures, "text": texts}))
    one = {"image": picture}
    expected = expected_of(model_folder, [one, one, one, one, {"text": "it is low"}, {**one, "text": "it is low"}])
    assert list(answer.columns) == ["no|pe", "yes"]
    assert abs(answer.to_numpy() - expected).max() < 1e-5
    vector = np.zeros(32).tolist()  # what the encoder would have made of a text is taken, too
    assert model.predict(pd.DataFrame({"text": [vector, "it is low"]})).shape == (2, 2)
    assert model.predict(model.input_example).shape == (1, 2)

    with pytest.raises(
        RowsRefused, match=r"row 1, image: bad-value \('nowhere.png' is neither a file here nor base64\)"
    ):
        model.predict(pd.DataFrame({"image": [text, "nowhere.png"]}))
    with pytest.raises(RowsRefused, match="row 1, image: unreadable-image"):
        model.predict(pd.DataFrame({"image": [None, b"no picture"], "text": ["a", None]}))
    monkeypatch.setenv("__pyfunc_model_path__", "as in mlflow models serve")
    with pytest.raises(RowsRefused, match="names no file of the server"):
        model.predict(pd.DataFrame({"image": [str(picture)]}))


@pytest.mark.slow
def test_mlflow_models_serve_answers_over_http(model_folder: Path, picture: Path, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (home := tmp_path / "home").mkdir()
    environment = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    environment |= {"HOME": str(home), "OMP_NUM_THREADS": "1", "MLFLOW_DISABLE_TELEMETRY": "true"}
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "models",
        "serve",
        "--env-manager",
        "local",
        "--model-uri",
        str(model_folder),
    ]
    log = tmp_path / "serve.log"
    with log.open("wb") as sink:
        server = subprocess.Popen(
            [*command, "--port", str(port)], cwd=home, env=environment, stdout=sink, stderr=sink, start_new_session=True
        )
    url = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        assert server.poll() is None, log.read_text()
        try:
            return httpx.get(f"{url}/ping", timeout=600).status_code == 200
        except httpx.TransportError:
            return False

    try:
        wait_until(answers, "mlflow models serve answers", 1.0)
        image = base64.b64encode(picture.read_bytes()).decode()
        rows = {"columns": ["image", "text"], "data": [[image, None], [None, "it is low"]]}
        curl = ["curl", "--silent", f"{url}/invocations", "--header", "Content-Type: application/json"]
        done = subprocess.run([*curl, "--data", json.dumps({"dataframe_split": rows})], capture_output=True, check=True)
        found = [list(row.values()) for row in json.loads(done.stdout)["predictions"]]
        expected = expected_of(model_folder, [{"image": picture}, {"text": "it is low"}])
        assert abs(np.array(found) - expected).max() < 1e-5
        stolen = {"dataframe_split": {"columns": ["image"], "data": [[str(picture)]]}}
        refused = httpx.post(f"{url}/invocations", json=stolen, timeout=600)
        assert refused.status_code >= 400
        assert "names no file of the server" in refused.text
    finally:
        os.killpg(server.pid, 15)
        server.wait()
