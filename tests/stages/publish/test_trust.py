"""What is served is what was published: verified, with the published digests when it is loaded, and signed where asked."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from pydantic import SecretBytes

import crossmodal
from flows.export import export_release, verify_folder
from flows.predictions import find_model
from flows.request import VERIFY_KEY, Request, make_request, verify_key_from_environment
from flows.serving.loading import find_published, load_predictor
from flows.serving.mlflow_model import MediaModel
from flows.signing import load_sign_key
from tasks import progress
from tasks.errors import CrossmodalError, DataError, EnvironmentFailed, UsageError
from tasks.modeling.signing import make_statement, require_signed, sign
from tasks.modeling.signing_keys import parse_private_key
from tasks.publish import registry
from tasks.publish.publish import PublishInputs, publish
from tests.support.registries import client_of, logged

MakeCase = Callable[..., Any]


def flip(path: Path) -> bytes:
    """One bit of the file is another; its content before."""
    content = path.read_bytes()
    path.unlink()  # another name of the same file stays as it was
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    return content


def pem_of(key: Ed25519PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def public_pem_of(key: Any) -> bytes:
    return bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    """The files of a private key and of its public key."""
    key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    private, public = tmp_path / "sign.pem", tmp_path / "verify.pem"
    private.write_bytes(pem_of(key))
    private.chmod(0o600)
    public.write_bytes(public_pem_of(key))
    return private, public


def published(case: Any, key: Path | None = None) -> Request:
    """The request of whoever reads what the case has published, signed where there is a key."""
    pem = None if key is None else SecretBytes(key.read_bytes())
    inputs = PublishInputs(case.verdict, case.checkpoint, case.report, case.valid, case.features, None, pem)
    to = case.request
    publish(inputs, to.config, to.store, to.tracking_uri, to.run_id)
    return make_request(to.config, str(to.store.root), to.tracking_uri, "run-2")


def pyfunc(folder: Path) -> MediaModel:
    model = MediaModel()
    model.load_context(SimpleNamespace(artifacts={"model.safetensors": str(folder / "model.safetensors")}))
    return model


def files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_no_altered_file_of_a_logged_model_is_served(
    make_case: MakeCase, bert: Path, quick: None, keys: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    case = make_case(encoder=bert)
    published(case, keys[0])
    folder = logged(case) / "artifacts"
    names = [path.relative_to(folder).as_posix() for path in files_of(folder)]
    assert {"manifest.json", "model.sig", "README.md", "model.json", "model.safetensors"} < set(names)
    assert len(names) > 10, "the encoder's files, too"
    pyfunc(folder)
    for path in files_of(folder):
        before = flip(path)
        with pytest.raises(CrossmodalError, match=r"damaged|not as it was signed"):
            pyfunc(folder)
        path.write_bytes(before)
        path.rename(folder / "aside")
        if path.name != "model.sig":
            with pytest.raises(EnvironmentFailed, match=r"cannot be read|never verified"):
                pyfunc(folder)
        (folder / "aside").rename(path)
    monkeypatch.setenv(VERIFY_KEY, str(keys[1]))
    pyfunc(folder)
    (folder / "model.sig").unlink()
    with pytest.raises(EnvironmentFailed, match="is not signed, and the key"):
        pyfunc(folder)


def test_no_altered_file_of_the_store_is_loaded(make_case: MakeCase, bert: Path, quick: None) -> None:
    case = make_case(encoder=bert)
    request = published(case)
    champion = find_model(request, "tiny")
    (artifacts, stored) = logged(case) / "artifacts", request.store.path(champion.uri)
    shutil.rmtree(bert)
    for name in ("model.safetensors", "model.json", "rows.safetensors", "profile.json"):
        if not (stored / name).exists():
            continue
        flip(stored / name)
        find_model(request, "tiny")
        assert (stored / name).read_bytes() == (artifacts / name).read_bytes(), "fetched again"
        before = flip(artifacts / name)
        flip(stored / name)
        for load in (
            lambda: find_model(request, "tiny"),
            lambda: find_published("tiny@champion", request),
            lambda: crossmodal.load("tiny", store=request.store.root),
        ):
            with pytest.raises(EnvironmentFailed, match=rf"model tiny version 1: {name} at .* is damaged"):
                load()
        (artifacts / name).write_bytes(before)
        find_model(request, "tiny")
    files = {path.name for path in files_of(stored)} - {"artifact.json"}
    assert len(files) >= 4
    for part in (request.store.root / "encoders").glob("*/*"):
        if part.name != "artifact.json":
            flip(part)
            find_model(request, "tiny")
            assert part.exists(), "fetched again"
    encoders = [path for path in artifacts.glob("encoders/*/*") if path.suffix in (".safetensors", ".json")]
    flip(encoders[0])
    flip(next((request.store.root / "encoders").glob(f"*/{encoders[0].name}")))
    with pytest.raises(EnvironmentFailed, match=r"the encoder at .* is damaged"):
        find_model(request, "tiny")


def test_what_is_loaded_is_what_was_looked_at(make_case: MakeCase, quick: None) -> None:
    request = published(make_case())
    champion = find_published("tiny@champion", request)
    folder = request.store.path(champion.uri)
    load_predictor(champion, request, 1).close()
    for name in ("model.safetensors", "model.json"):
        before = flip(folder / name)
        with pytest.raises(DataError, match=rf"{name}: damaged \(its sha256 is"):
            load_predictor(champion, request, 1)
        (folder / name).write_bytes(before)


def test_a_record_that_agrees_with_altered_files_is_not_believed(make_case: MakeCase, quick: None) -> None:
    case = make_case()
    request = published(case)
    champion = find_model(request, "tiny")
    folder = request.store.path(champion.uri)
    expected = (folder / "model.safetensors").read_bytes()
    shutil.rmtree(folder)
    with request.store.create("champions", champion.sha256) as draft:
        for path in (logged(case) / "artifacts").iterdir():
            if path.is_file():
                shutil.copyfile(path, draft.path / path.name)
        flip(draft.path / "model.safetensors")
    assert find_model(request, "tiny") == champion
    assert (folder / "model.safetensors").read_bytes() == expected


@pytest.mark.parametrize("status", ["failed", "registered", None])
def test_a_version_that_was_not_verified_is_refused(status: str | None, make_case: MakeCase, quick: None) -> None:
    case = make_case()
    request = published(case)
    if status is None:
        client_of(case).delete_model_version_tag("tiny", "1", "crossmodal.status")
    else:
        client_of(case).set_model_version_tag("tiny", "1", "crossmodal.status", status)
    for load in (
        lambda: find_published("tiny@champion", request),
        lambda: crossmodal.load("tiny", store=request.store.root),
        lambda: registry.fetch_version("tiny", "1", request.store, request.tracking_uri),
    ):
        with pytest.raises(EnvironmentFailed, match=rf"were not verified \(status '?{status}'?\)"):
            load()


def test_a_release_is_loaded_whole_or_not_at_all(
    make_case: MakeCase,
    bert: Path,
    quick: None,
    tmp_path: Path,
    keys: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    request = published(make_case(encoder=bert), keys[0])
    _, folder = export_release(request, "tiny@champion", tmp_path / "release")
    assert verify_folder(request, folder).signature.endswith("(not verified: no public key is configured)")
    for path in files_of(folder):
        before = flip(path)
        with pytest.raises(CrossmodalError):
            crossmodal.load(folder)
        with pytest.raises(CrossmodalError):
            verify_folder(request, folder)
        path.write_bytes(before)
    monkeypatch.setenv(VERIFY_KEY, str(keys[1]))
    found = verify_folder(request, folder)
    assert found.signature.endswith("(verified)")
    assert crossmodal.load(folder).signature == found.signature
    release = json.loads((folder / "release.json").read_text())
    (folder / "release.json").write_text(json.dumps(release | {"version": "2"}))
    with pytest.raises(EnvironmentFailed, match=r"its signature is of another model \(models:/tiny/1\)"):
        crossmodal.load(folder)


def test_signatures_are_verified_with_the_public_key(
    make_case: MakeCase, quick: None, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    case = make_case()
    request = published(case, keys[0])
    place, root = case.place, request.store.root
    assert crossmodal.load("tiny", store=root).signature.endswith("(not verified: no public key is configured)")
    model = crossmodal.load("tiny", store=root, verify_key=keys[1])
    assert model.signature.endswith("(verified)")
    (shown,) = registry.show_model("tiny", *place)
    assert model.signature.startswith(f"signed with the key {str(shown['signed_by'])[:12]} ")
    other = tmp_path / "other.pem"
    other.write_bytes(public_pem_of(Ed25519PrivateKey.generate()))
    for ask in (
        lambda key: crossmodal.load("tiny", store=root, verify_key=key),
        lambda key: registry.fetch_champion("tiny", "champion", *place, str(key)),
        lambda key: registry.promote("tiny", "1", "best", *place, verify_key=str(key)),
    ):
        with pytest.raises(EnvironmentFailed, match="is signed with another key"):
            ask(other)
    assert "best" not in client_of(case).get_registered_model("tiny").aliases
    key_material = b"".join(keys[0].read_bytes().splitlines()[1:-1])
    everything = [path.read_bytes() for path in root.rglob("*") if path.is_file()]
    assert not any(key_material in content or bytes(range(32)) in content for content in everything)
    assert key_material.decode() not in repr(SecretBytes(keys[0].read_bytes()))


def test_an_unsigned_or_exchanged_signature_is_refused(
    make_case: MakeCase, quick: None, keys: tuple[Path, Path]
) -> None:
    first = make_case()
    published(first)
    place, key = first.place, str(keys[1])
    assert crossmodal.load("tiny", store=place[0].root).signature == "unsigned"
    with pytest.raises(
        EnvironmentFailed,
        match=r"version 1: is not signed, and the key .* publish it with publish.sign_key, the first time",
    ):
        registry.fetch_champion("tiny", "champion", *place, key)
    second = make_case(seed=1, champion=first.checkpoint, run_id="run-2")
    published(second, keys[0])
    client = client_of(first)
    signature = client.get_model_version("tiny", "2").tags["crossmodal.signature"]
    client.set_model_version_tag("tiny", "1", "crossmodal.signature", signature)
    for verify_key in (key, None):
        with pytest.raises(EnvironmentFailed, match=r"its signature is of another model \(models:/tiny/2\)"):
            registry.rollback("tiny", "champion", *place, verify_key=verify_key)
    with closing(sqlite3.connect(place[0].root / "mlflow.db")) as connection, connection:
        connection.execute(
            "UPDATE model_version_tags SET value = replace(value, 'payload', 'paylod') WHERE key = ?",
            ("crossmodal.signature",),
        )
    with pytest.raises(DataError, match="its signature is damaged"):
        registry.fetch_champion("tiny", "champion", *place, key)


def test_the_format_is_that_of_openssf(keys: tuple[Path, Path]) -> None:
    key = parse_private_key(keys[0].read_bytes(), "here")
    files = {"b": "2" * 64, "a": "1" * 64}
    bundle = json.loads(sign(make_statement("models:/tiny/1", files), key))
    envelope = bundle["dsseEnvelope"]
    assert bundle["mediaType"] == "application/vnd.dev.sigstore.bundle.v0.3+json"
    assert envelope["payloadType"] == "application/vnd.in-toto+json"
    payload = base64.b64decode(envelope["payload"])
    statement = json.loads(payload)
    assert (statement["_type"], statement["predicateType"]) == (
        "https://in-toto.io/Statement/v1",
        "https://model_signing/signature/v1.0",
    )
    assert statement["predicate"]["resources"] == [
        {"name": name, "algorithm": "sha256", "digest": files[name]} for name in ("a", "b")
    ]
    assert statement["subject"][0]["digest"]["sha256"] == hashlib.sha256(b"\x11" * 32 + b"\x22" * 32).hexdigest()
    signed = b"DSSEv1 28 application/vnd.in-toto+json " + str(len(payload)).encode() + b" " + payload
    public = serialization.load_pem_public_key(keys[1].read_bytes())
    public.verify(base64.b64decode(envelope["signatures"][0]["sig"]), signed)  # type: ignore[call-arg, union-attr]


def test_no_altered_signature_passes(keys: tuple[Path, Path]) -> None:
    files = {"a": "1" * 64}
    signature = sign(make_statement("models:/tiny/1", files), parse_private_key(keys[0].read_bytes(), "here"))
    key = str(keys[1])
    found = require_signed(files, "models:/tiny/1", signature, key, "model")
    assert found is not None
    assert found.verified
    bundle = json.loads(signature)
    payload = base64.b64decode(bundle["dsseEnvelope"]["payload"])
    forged = payload.replace(b"1" * 64, b"3" * 64)
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(forged).decode()
    with pytest.raises(EnvironmentFailed, match="its signature is wrong"):
        require_signed({"a": "3" * 64}, "models:/tiny/1", json.dumps(bundle).encode(), key, "model")
    with pytest.raises(DataError, match=r"its list of files is damaged \(its digest is another\)"):
        require_signed({"a": "3" * 64}, "models:/tiny/1", json.dumps(bundle).encode(), None, "model")
    for asked, why in (({"a": "3" * 64}, "is of another file"), ({"b": "1" * 64}, "does not list it")):
        with pytest.raises(EnvironmentFailed, match=why):
            require_signed(asked, None, signature, key, "model")


def test_keys_are_read_or_refused_without_a_word_of_them(
    keys: tuple[Path, Path], tmp_path: Path, make_case: MakeCase
) -> None:
    private, public = keys
    case = make_case()

    def asking(where: str) -> Request:
        section = case.request.config.publish.model_copy(update={"sign_key": where})
        return Request(case.request.config.model_copy(update={"publish": section}), *case.place, "run-1")

    lines: list[str] = []
    with progress.listening_to_lines(lambda line, level: lines.append(f"{level}: {line}")):
        found = load_sign_key(asking(str(private)))
        assert found is not None
        assert found.get_secret_value() == private.read_bytes()
        assert lines == []
        private.chmod(0o644)
        load_sign_key(asking(str(private)))
    assert lines == [f"warning: publish.sign_key {private}: others may read it (0644); chmod 600 {private}"]
    assert load_sign_key(make_request(case.request.config, str(case.place[0].root), None, "run-1")) is None
    (tmp_path / "ec.pem").write_bytes(
        ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    (tmp_path / "none.pem").write_text("secret words")
    encrypted = serialization.BestAvailableEncryption(b"word")
    key = Ed25519PrivateKey.generate()
    (tmp_path / "locked.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encrypted))
    for name, why in (
        *(("ec.pem", "is no ed25519 key"), ("none.pem", "is no private key in PEM"), ("locked.pem", "is encrypted")),
        *(("absent.pem", "cannot be read"), ("verify.pem", "is no private key in PEM")),
    ):
        with pytest.raises(UsageError, match=why) as error:
            load_sign_key(asking(str(tmp_path / name)))
        assert "secret" not in str(error.value)
    for name, why in (("sign.pem", "is no public key in PEM"), ("absent.pem", "cannot be read")):
        for signature in (None, b"{}"):  # nor is it said of a model that it is not signed
            with pytest.raises(UsageError, match=why):
                require_signed({}, None, signature, str(tmp_path / name), "model m")
    assert public_pem_of(parse_private_key(private.read_bytes(), "")) == public.read_bytes()


def test_an_empty_variable_does_not_switch_verification_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VERIFY_KEY, "")
    with pytest.raises(UsageError, match=f"{VERIFY_KEY}: is empty"):
        verify_key_from_environment()
    monkeypatch.delenv(VERIFY_KEY)
    assert verify_key_from_environment() is None
