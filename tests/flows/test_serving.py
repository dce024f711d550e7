"""The HTTP interface, by value: every way in, every error, who may ask, how much is taken on, and the change of the model."""

from __future__ import annotations

import asyncio
import base64
import gc
import json
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from starlette.testclient import TestClient

from data_contracts.refs import ChampionRef
from flows.environment import new_run_id
from flows.hosting.guard import Policy, own_origins
from flows.request import make_request, resolve_config
from flows.serving.app import make_app
from flows.serving.batching import Batcher
from flows.serving.entrance import Access
from flows.serving.heap import settle_heap
from flows.serving.limits import Limits
from flows.serving.loading import find_published, load_predictor
from flows.serving.prediction import Refusal
from flows.serving.predictor import Predictor, PreparedRow
from flows.serving.rotation import AliasWatch, Rotation
from flows.serving.server import is_loopback, open_socket, read_token, require_token
from flows.serving.service import Service
from tasks.errors import EnvironmentFailed, UsageError
from tests.support.data import PIXELS, SOUND, png, wav
from tests.support.folder_models import write_model
from tests.waiting import wait_until

URL = "http://127.0.0.1:8000"
TOKEN = "a-token-of-many-characters"
LIMITS = Limits(max_body_mb=1, max_rows=3, max_pending=2, max_pending_mb=1, timeout_s=600, decoders=1)


EVERYTHING = {"rows": 99, "prediction_set": 0.01, "answer": 0.99, "energy": 1e6}
UNCERTAINTY = {"temperature": 2.0, "max_risk": 0.1, "thresholds": {"text": EVERYTHING}}
"""Of rows with a text only: their set has both labels, the model abstains, and nothing is like what it knows."""


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Predictor]:
    folder = tmp_path_factory.mktemp("served")
    request = make_request(resolve_config(None, "builtin:digits", []), str(folder / "store"), None, new_run_id())
    small = write_model(folder / "small", uncertainty=UNCERTAINTY)
    loaded = load_predictor(find_published(small, request), request, 1)
    yield loaded
    loaded.close()


@pytest.fixture(scope="module")
def service(predictor: Predictor) -> Service:
    return Service(Rotation(predictor), LIMITS)


@pytest.fixture(scope="module")
def client(service: Service) -> TestClient:
    return client_of(service)


def client_of(service: Service, token: str | None = None) -> TestClient:
    access = Access(token, Policy(auth_string="", cookie="", origins=own_origins(URL)))
    return TestClient(make_app(service, access, "1", lambda: None, lambda: None), URL, raise_server_exceptions=False)


def rows(*found: dict[str, Any]) -> dict[str, Any]:
    return {"rows": list(found)}


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


def test_an_answer_is_explained_where_the_request_asks_for_it(client: TestClient) -> None:
    picture, sound = png(PIXELS), wav(SOUND, 8000)
    whole = {"image": base64_of(picture), "audio": base64_of(sound), "text": "it is low"}
    plain = client.post("/v1/predict", json=rows(whole)).json()["predictions"][0]
    assert "explanation" not in plain
    told = client.post("/v1/predict", json={**rows(whole), "explain": True}).json()["predictions"][0]
    why = told.pop("explanation")
    assert told == plain
    assert sum(why["shapley"].values()) == pytest.approx(why["value"] - why["base"], abs=1e-6)
    assert why["output"] == told["label"]
    assert sum(why["shares"].values()) == pytest.approx(1)
    assert [each["form"] for each in why["attributions"]] == ["picture", "words", "spectrogram"]
    assert [each["name"] for each in why["attributions"][1]["values"]] == ["it", "is", "low"]
    form = client.post("/v1/predict?explain=true", files={"text": (None, "it is low")}).json()["predictions"][0]
    assert list(form["explanation"]["shapley"]) == ["text"]
    odd = client.post("/v1/predict?explain=yes", files={"text": (None, "it is low")})
    assert (odd.status_code, odd.json()["code"]) == (422, "bad-request")
    document = client.get("/openapi.json").json()
    assert "explain" in document["components"]["schemas"]["PredictRequest"]["properties"]
    assert [each["name"] for each in document["paths"]["/v1/predict"]["post"]["parameters"]] == ["explain"]


def test_only_few_rows_are_explained_in_one_request(predictor: Predictor) -> None:
    few = client_of(Service(Rotation(predictor), replace(LIMITS, max_explained=1)))
    answer = few.post("/v1/predict", json={**rows({"text": "a"}, {"text": "b"}), "explain": True})
    assert answer.status_code == 422
    assert answer.json()["detail"] == "2 rows to explain, at most 1 in one request"


def test_json_and_a_form_are_answered_alike_with_any_subset(client: TestClient, predictor: Predictor) -> None:
    picture, sound = png(PIXELS), wav(SOUND, 8000)
    whole = {"image": base64_of(picture), "audio": base64_of(sound), "text": "it is low"}
    several = client.post(
        "/v1/predict", json=rows(whole, {"text": "it is low"}, {"image": whole["image"], "text": None})
    )
    form = client.post(
        "/v1/predict", files={"image": ("a", picture), "audio": ("b", sound)}, data={"text": "it is low"}
    )
    assert (several.status_code, form.status_code) == (200, 200)
    found = several.json()["predictions"]
    assert [answer["modalities"] for answer in found] == [["image", "text", "audio"], ["text"], ["image"]]
    assert form.json()["predictions"][0]["probabilities"] == pytest.approx(found[0]["probabilities"], abs=1e-5)
    direct = predictor.predict([{"image": picture, "audio": sound, "text": "it is low"}])[0]
    assert found[0]["probabilities"] == pytest.approx(direct.probabilities, abs=1e-5)
    assert (several.json()["model"], several.json()["version"]) == ("small", predictor.version)
    assert several.headers["cache-control"] == "no-store"


def test_what_an_answer_is_worth_is_the_same_over_http_and_in_python(client: TestClient, predictor: Predictor) -> None:
    found = client.post("/v1/predict", json=rows({"text": "it is low"}, {"image": base64_of(png(PIXELS))})).json()
    text, image = found["predictions"]
    assert set(text["prediction_set"]) == {"high", "low"}
    assert text["prediction_set"][0] == text["label"]
    assert (text["abstained"], text["out_of_distribution"], text["prediction_interval"]) == (True, True, None)
    assert (image["prediction_set"], image["abstained"], image["out_of_distribution"]) == (None, True, None)
    direct = predictor.predict([{"text": "it is low"}])[0].model_dump(mode="json")
    for name in ("label", "prediction_set", "prediction_interval", "abstained", "out_of_distribution"):
        assert direct[name] == text[name]
    described = client.get("/openapi.json").json()["components"]["schemas"]["Prediction"]["properties"]
    assert {"prediction_set", "prediction_interval", "abstained", "out_of_distribution"} <= described.keys()


JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "multipart/form-data; boundary=b"}
PART = b'--b\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s'
CUT_OFF = PART % (b"text", b"seven\r\n") + PART % (b"image", b"\x89PNG")
BROKEN: dict[str, tuple[dict[str, Any], int, str]] = {
    "no JSON": ({"content": b"{", "headers": JSON}, 400, "not-json"),
    "no UTF-8": ({"content": b'{"rows":[{"text":"\xff"}]}', "headers": JSON}, 400, "not-json"),
    "no rows": ({"json": {"rows": []}}, 422, "bad-request"),
    "another key": ({"json": {"rows": [{}], "paths": ["/etc/passwd"]}}, 422, "bad-request"),
    "a list": ({"json": []}, 422, "bad-request"),
    "a key twice": ({"content": b'{"rows":[{"text":"a","text":"b"}]}', "headers": JSON}, 422, "bad-request"),
    "rows twice": ({"content": b'{"rows":[{"text":"a"}],"rows":[{"text":"b"}]}', "headers": JSON}, 422, "bad-request"),
    "too many rows": ({"json": rows(*[{"text": "a"}] * 4)}, 422, "too-many-rows"),
    "a path": ({"json": rows({"image": "/etc/hostname"})}, 422, "rows-refused"),
    "a number": ({"json": rows({"image": 3})}, 422, "rows-refused"),
    "no picture": ({"json": rows({"image": base64_of(b"GIF9")})}, 422, "rows-refused"),
    "an unknown input": ({"json": rows({"imge": "x"})}, 422, "rows-refused"),
    "nothing": ({"json": rows({})}, 422, "rows-refused"),
    "a form's path": ({"files": {"text": (None, "a"), "image": (None, "/etc/hostname")}}, 422, "rows-refused"),
    "a field twice": ({"files": [("text", (None, "a")), ("text", (None, "b"))]}, 422, "bad-request"),
    "no boundary": ({"content": b"x", "headers": {"Content-Type": "multipart/form-data"}}, 400, "broken-form"),
    "no form": ({"content": b"x", "headers": {"Content-Type": "multipart/form-data; boundary=b"}}, 400, "broken-form"),
    "a form cut off": ({"content": CUT_OFF, "headers": FORM}, 400, "broken-form"),
    "another type": ({"data": {"text": "a"}}, 415, "unsupported-type"),
    "no type": ({"content": b"{}"}, 415, "unsupported-type"),
    "compressed": ({"json": {}, "headers": {"Content-Encoding": "gzip"}}, 415, "unsupported-encoding"),
    "too large": ({"content": b" " * 1_000_001, "headers": JSON}, 413, "body-too-large"),
    "too large, undeclared": ({"content": iter([b" " * 600_000] * 2), "headers": JSON}, 413, "body-too-large"),
    "a length that is none": ({"content": b"{}", "headers": {**JSON, "Content-Length": "-1"}}, 400, "bad-request"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_every_broken_request_is_told_as_a_problem(client: TestClient, service: Service, name: str) -> None:
    call, status, code = BROKEN[name]
    answer = client.post("/v1/predict", **call)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    assert bool(answer.json()["errors"]) == (code == "rows-refused")
    assert service.admission.requests == 0


def test_refused_rows_are_named(client: TestClient) -> None:
    answer = client.post(
        "/v1/predict", json=rows({"text": "a"}, {"image": base64_of(b"x"), "text": "a"}, {"text": " "})
    )
    assert [(each["row"], each["input"], each["reason"]) for each in answer.json()["errors"]] == [
        (1, "image", "unreadable-image"),
        (2, "text", "empty-text"),
    ]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [("GET", "/nowhere", 404, "not-found"), ("GET", "/v1/predict", 405, "bad-request")],
)
def test_other_paths_and_methods_are_problems_too(
    client: TestClient, method: str, path: str, status: int, code: str
) -> None:
    answer = client.request(method, path)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("sent", ["abc-1", "a" * 129, "two words", ""])
def test_a_plain_request_id_is_given_back_and_any_other_replaced(client: TestClient, sent: str) -> None:
    given = client.get("/healthz", headers={"X-Request-ID": sent}).headers["x-request-id"]
    assert (given == sent) == (sent == "abc-1")
    assert given


def test_without_a_token_only_this_machines_own_names_and_pages_get_in(client: TestClient) -> None:
    for host in ("127.0.0.1:8000", "localhost:8000", "[::1]:8000"):
        assert client.get("/v1/model", headers={"Host": host, "Origin": f"http://{host}"}).status_code == 200
    for host in ("evil.example", "127.0.0.1.evil.example:8000", "127.0.0.1:1"):
        assert client.post("/v1/predict", json=rows({"text": "a"}), headers={"Host": host}).status_code == 421
    for headers in ({"Origin": "http://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}):
        assert client.post("/v1/predict", json=rows({"text": "a"}), headers=headers).status_code == 403


def test_with_a_token_only_who_sends_it_gets_in_under_any_name(service: Service) -> None:
    client = client_of(service, TOKEN)
    for headers in (
        {},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": f"Bearer {TOKEN}x"},
        {"Authorization": "é"},
    ):
        refused = client.get("/v1/model", headers={key: value.encode("latin-1") for key, value in headers.items()})
        assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
    for path in ("/metrics", "/openapi.json", "/v1/predict"):
        assert client.get(path).status_code == 401
    for path in ("/", "/healthz", "/readyz"):
        assert client.get(path).status_code == 200
    known = {"Authorization": f"bearer {TOKEN}", "Host": "models.example"}
    assert client.get("/v1/model", headers=known).status_code == 200


def test_more_than_fits_is_answered_429_at_once(client: TestClient, service: Service) -> None:
    service.admission.enter(600_000)
    try:
        refused = client.post("/v1/predict", content=b" " * 500_000, headers=JSON)
        assert (refused.status_code, refused.headers["retry-after"], refused.json()["code"]) == (429, "1", "overloaded")
        assert client.post("/v1/predict", json=rows({"text": "a"})).status_code == 200
        service.admission.enter(1)
        assert client.post("/v1/predict", json=rows({"text": "a"})).status_code == 429
        assert client.get("/healthz").status_code == 200
        service.admission.leave(1)
    finally:
        service.admission.leave(600_000)
    assert client.post("/v1/predict", json=rows({"text": "a"})).status_code == 200


def test_an_answer_that_does_not_come_is_a_504_and_still_counts(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time is up at once where the answer never comes: nothing here depends on how fast the machine is."""
    service = Service(Rotation(predictor), LIMITS)
    begun, waiting = threading.Event(), list[Future[Any]]()

    def never_answer(_: object, __: object, answers: Future[Any]) -> None:
        waiting.append(answers)
        begun.set()

    monkeypatch.setattr(service._batcher, "submit", never_answer)
    shield = asyncio.shield

    async def until_begun(work: Any) -> Any:
        await asyncio.to_thread(begun.wait)
        raise TimeoutError

    monkeypatch.setattr("flows.serving.service.asyncio.shield", until_begun)
    with client_of(service) as client:
        answer = client.post("/v1/predict", json=rows({"text": "a"}))
        assert (answer.status_code, answer.json()["code"]) == (504, "out-of-time")
        assert service.admission.requests == 1, "what still runs still takes memory"
        monkeypatch.setattr("flows.serving.service.asyncio.shield", shield)
        waiting[0].set_result([])
        wait_until(lambda: client.get("/healthz").is_success and not service.admission.requests, "the work has ended")


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [(EnvironmentFailed("no disk"), 503, "unavailable"), (ZeroDivisionError("secret"), 500, "internal-error")],
)
def test_a_model_that_fails_is_told_without_its_secrets(
    service: Service, client: TestClient, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int, code: str
) -> None:
    def fail(_: object) -> None:
        raise error

    monkeypatch.setattr(service.rotation.predictor, "answer", fail)
    answer = client.post("/v1/predict", json=rows({"text": "a"}))
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert "secret" not in answer.text
    monkeypatch.undo()
    assert client.post("/v1/predict", json=rows({"text": "a"})).status_code == 200


class Counting:
    """A model that says which rows it was asked together."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def answer(self, asked: list[Any]) -> list[Any]:
        self.batches.append(len(asked))
        if "bad" in asked:
            raise EnvironmentFailed("bad")
        return asked


def test_requests_under_way_are_answered_together_and_a_bad_one_costs_no_other() -> None:
    model: Any = Counting()
    told: list[int] = []
    batcher = Batcher(Limits(batch_wait_ms=600_000, batch_rows=4), lambda: 9, told.append)
    found: list[Future[Any]] = [Future() for _ in range(5)]
    for asked, answers in zip((["a", "b"], ["c"], ["d"], ["e"], ["bad", "f", "g"]), found, strict=True):
        batcher.submit(model, asked, answers)  # type: ignore[arg-type]
    assert [each.result() for each in found[:4]] == [["a", "b"], ["c"], ["d"], ["e"]]
    with pytest.raises(EnvironmentFailed, match="bad"):
        found[4].result()
    batcher.close()
    assert model.batches == [4, 4, 1, 3]
    assert told == [4]


def test_a_waiting_thread_holds_no_model_that_has_answered() -> None:
    class Answering:
        def answer(self, rows: list[Any]) -> list[Any]:
            return list(rows)

    batcher = Batcher(Limits(), lambda: 1, lambda _: None)
    predictor, answers = Answering(), Future[list[Any]]()
    left = weakref.ref(predictor)
    batcher.submit(predictor, [PreparedRow({})], answers)  # type: ignore[arg-type]
    assert answers.result() == [PreparedRow({})]
    del predictor
    wait_until(lambda: left() is None, "a model that was replaced is given up without a further request")
    batcher.close()


def test_a_request_by_itself_waits_for_nobody() -> None:
    model: Any = Counting()
    batcher = Batcher(Limits(batch_wait_ms=600_000), lambda: 1, lambda _: None)
    answers: Future[Any] = Future()
    batcher.submit(model, ["a"], answers)  # type: ignore[list-item]
    assert answers.result() == ["a"]
    batcher.close()


def test_the_new_model_takes_over_between_requests_and_the_old_one_ends_with_its_last(
    predictor: Predictor, caplog: pytest.LogCaptureFixture
) -> None:
    closed: list[str] = []

    class Version:
        def __init__(self, version: str) -> None:
            self.version = version

        def warm_up(self) -> None:
            assert self.version != "3", "a version that does not load"

        def close(self) -> None:
            closed.append(self.version)

    rotation, alias, swapped = Rotation(Version("1")), ["2"], []  # type: ignore[arg-type]

    def find() -> ChampionRef:
        if alias[0] == "gone":
            raise UsageError("not in the registry")
        return ChampionRef(uri="m", sha256="0" * 64, rows=0, name="m", version=alias[0], model_sha256="0" * 64)

    watch = AliasWatch(rotation, find, lambda champion: Version(champion.version), 600, swapped.append)  # type: ignore[arg-type]
    with rotation.use() as used:
        watch.poll()
        with rotation.use() as other:
            assert (used.version, other.version) == ("1", "2")
        assert closed == []
    wait_until(lambda: closed == ["1"] and gc.get_freeze_count() > 0, "the old one has ended, and its garbage")
    gc.unfreeze()
    watch.poll()
    alias[0] = "gone"
    watch.poll()
    watch.poll()
    assert rotation.predictor.version == "2"
    assert swapped == [True, False, False]
    assert [record.message for record in caplog.records if "stays" in record.message] == [
        "version 2 stays: not in the registry"
    ]
    for alias[0] in ("2", "gone", "gone"):
        watch.poll()
    assert len([record for record in caplog.records if "stays" in record.message]) == 2, (
        "once each time that it is gone"
    )


def test_metrics_count_what_was_asked(client: TestClient, service: Service) -> None:
    client.get("/somewhere")
    text = client.get("/metrics").text
    assert 'crossmodal_requests_total{route="other",status="404"}' in text
    assert f'crossmodal_model_info{{model="small",version="{service.rotation.predictor.version}"}} 1.0' in text
    assert "crossmodal_pending_requests 0.0" in text
    assert 'crossmodal_rows_total{outcome="answered"}' in text


def test_the_openapi_document_names_the_paths_and_resolves(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    assert set(document["paths"]) == {"/v1/predict", "/v1/model", "/healthz", "/readyz", "/metrics"}
    body = document["paths"]["/v1/predict"]["post"]["requestBody"]["content"]
    assert set(body) == {"application/json", "multipart/form-data"}
    text = json.dumps(document)
    for name in {part.partition('"')[0] for part in text.split("#/components/schemas/")[1:]}:
        assert name in document["components"]["schemas"]


def test_the_page_runs_nothing_but_its_own_script(client: TestClient) -> None:
    page = client.get("/")
    assert page.headers["content-security-policy"].startswith("default-src 'none'; script-src 'sha256-")
    assert "http://" not in page.text
    assert "https://" not in page.text


def test_an_ending_server_is_not_ready(service: Service, client: TestClient) -> None:
    assert client.get("/readyz").status_code == 200
    service.ready = False
    assert client.get("/readyz").status_code == 503
    service.ready = True


def test_a_token_is_a_secret_of_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    path.chmod(0o644)
    with pytest.raises(UsageError, match=r"others may read it \(0644\); chmod 600"):
        read_token(str(path), {})
    path.chmod(0o600)
    assert read_token(str(path), {}) == TOKEN
    assert read_token(None, {"CROSSMODAL_SERVE_TOKEN": TOKEN}) == TOKEN
    assert read_token(None, {}) is None
    for weak in ("short", "with spaces in it, and long", "ä" * 20):
        with pytest.raises(UsageError, match="no token of at least 16 ASCII characters") as refused:
            read_token(None, {"CROSSMODAL_SERVE_TOKEN": weak})
        assert weak not in str(refused.value)
    with pytest.raises(UsageError, match=r"cannot be read \(No such file"):
        read_token(str(tmp_path / "none"), {})


def test_other_machines_are_let_in_with_a_token_only() -> None:
    assert [is_loopback(host) for host in ("127.0.0.1", "localhost", "::1", "0.0.0.0", "::", "example.com")] == [
        True,
        True,
        True,
        False,
        False,
        False,
    ]
    require_token("0.0.0.0", TOKEN)
    with pytest.raises(UsageError, match=r"--host 0\.0\.0\.0: other machines would reach the model without a token"):
        require_token("0.0.0.0", None)


def test_a_port_that_is_taken_is_named() -> None:
    with open_socket("127.0.0.1", 0) as bound:
        bound.listen()
        port = bound.getsockname()[1]
        with pytest.raises(UsageError, match=f"--port {port}: is in use; choose another, or 0 for a free one"):
            open_socket("127.0.0.1", port)
    with pytest.raises(UsageError, match="cannot be listened on"):
        open_socket("203.0.113.1", 0)


def test_torch_has_as_many_threads_after_an_answer_as_before(predictor: Predictor) -> None:
    before, others = torch.get_num_threads(), list[int]()
    try:
        torch.set_num_threads(1)
        expected = predictor.predict([{"text": "low"}])
        torch.set_num_threads(3)
        assert predictor.predict([{"text": "low"}]) == expected
        assert predictor._apart.submit(torch.get_num_threads).result() == 1
        asking = threading.Thread(target=lambda: others.append(torch.get_num_threads()))
        asking.start()
        asking.join()
        assert (torch.get_num_threads(), others) == (3, [3])
    finally:
        torch.set_num_threads(before)


def test_the_first_bad_input_of_a_row_is_named_whichever_is_decoded_first(predictor: Predictor) -> None:
    (refused,) = predictor.prepare([{"image": b"no picture", "text": b"\xff" * 1000}])
    assert isinstance(refused, Refusal)
    assert refused.input == "image"


def test_objects_that_stay_are_not_looked_through_and_garbage_among_them_is_found_later() -> None:
    class Node:
        """A cycle."""

        def __init__(self) -> None:
            self.me = self

    try:
        node = Node()
        left = weakref.ref(node)
        settle_heap()
        assert gc.get_freeze_count() > 100_000
        del node
        gc.collect()
        assert left() is not None
        settle_heap()
        assert left() is None
    finally:
        gc.unfreeze()


def test_a_prepared_row_holds_what_the_encoders_read(predictor: Predictor) -> None:
    (row,) = predictor.prepare([{"text": "low", "image": PIXELS}])
    assert isinstance(row, PreparedRow)
    assert row.features["text"].tolist() == list(b"low")
    assert row.features["image"].shape == (32, 32, 3)
