"""Signatures of published models: the digests of a version's files, signed with an ed25519 key.

The format is that of OpenSSF's model signing (https://github.com/sigstore/model-transparency, v1.0 of its predicate): an
in-toto statement that lists every file by sha256, in a DSSE envelope, in a Sigstore bundle with the digest of the public key.
Its own package is not used: it signs with elliptic curves of NIST only, and brings all of sigstore, which calls servers.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from data_contracts.refs import Sha256
from tasks.errors import DataError, EnvironmentFailed
from tasks.escaping import one_line
from tasks.modeling.signing_keys import key_digest, read_public_key
from tasks.store import canonical_json

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SIGNATURE = "model.sig"
"""The file of a signature, beside the files that it is of."""
MANIFEST = "manifest.json"
"""The statement by itself: what a version's files were when they were verified."""
_BUNDLE: Literal["application/vnd.dev.sigstore.bundle.v0.3+json"] = "application/vnd.dev.sigstore.bundle.v0.3+json"
_PAYLOAD: Literal["application/vnd.in-toto+json"] = "application/vnd.in-toto+json"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


class Resource(_Part):
    """A file."""

    name: str
    """Its path below the folder."""
    algorithm: Literal["sha256"] = "sha256"
    digest: Sha256


class _Digest(_Part):
    sha256: Sha256


class _Subject(_Part):
    name: str
    digest: _Digest


class _Predicate(_Part):
    serialization: dict[str, str | bool | list[str]]
    resources: tuple[Resource, ...]


class Statement(_Part):
    """What is signed: the files of a model, by digest."""

    type_: Literal["https://in-toto.io/Statement/v1"] = Field("https://in-toto.io/Statement/v1", alias="_type")
    subject: tuple[_Subject]
    predicate_type: Literal["https://model_signing/signature/v1.0"] = Field(
        "https://model_signing/signature/v1.0", alias="predicateType"
    )
    predicate: _Predicate

    @property
    def model(self) -> str:
        """`models:/NAME/VERSION`."""
        return self.subject[0].name

    @property
    def files(self) -> dict[str, Sha256]:
        """File to sha256."""
        return {resource.name: resource.digest for resource in self.predicate.resources}

    def to_json(self) -> bytes:
        """The same statement, the same bytes."""
        return canonical_json(self.model_dump(mode="json", by_alias=True)).encode()


class _SignatureOfKey(_Part):
    sig: str
    keyid: str = ""


class _Envelope(_Part):
    payload: str
    payload_type: Literal["application/vnd.in-toto+json"] = Field(_PAYLOAD, alias="payloadType")
    signatures: tuple[_SignatureOfKey]


class _PublicKey(_Part):
    hint: Sha256


class _Material(_Part):
    public_key: _PublicKey = Field(alias="publicKey")
    tlog_entries: tuple[()] = Field((), alias="tlogEntries")


class _Bundle(_Part):
    media_type: Literal["application/vnd.dev.sigstore.bundle.v0.3+json"] = Field(_BUNDLE, alias="mediaType")
    material: _Material = Field(alias="verificationMaterial")
    envelope: _Envelope = Field(alias="dsseEnvelope")


@dataclass(frozen=True)
class Signed:
    """What is known of a signature."""

    key_sha256: Sha256
    """Of the public key, as PEM."""
    verified: bool
    """With a public key; else only that it is of these files."""


def describe_signature(key_sha256: Sha256 | None, verified: bool) -> str:
    """For people."""
    if key_sha256 is None:
        return "unsigned"
    how = "verified" if verified else "not verified: no public key is configured"
    return f"signed with the key {key_sha256[:12]} ({how})"


def model_uri(name: str, version: str) -> str:
    """A model version, as MLflow writes it."""
    return f"models:/{name}/{version}"


def make_statement(model: str, files: Mapping[str, Sha256]) -> Statement:
    """The statement on a model's files."""
    resources = tuple(Resource(name=name, digest=files[name]) for name in sorted(files))
    ways: dict[str, str | bool | list[str]] = {
        "method": "files", "hash_type": "sha256", "allow_symlinks": False, "ignore_paths": [SIGNATURE, MANIFEST],
    }  # fmt: skip
    return Statement(
        subject=(_Subject(name=model, digest=_Digest(sha256=_root_digest(resources))),),
        predicate=_Predicate(serialization=ways, resources=resources),
    )


def _root_digest(resources: tuple[Resource, ...]) -> Sha256:
    return hashlib.sha256(b"".join(bytes.fromhex(resource.digest) for resource in resources)).hexdigest()


def read_statement(content: bytes, which: str) -> Statement:
    """A statement, which agrees with itself. DataError otherwise."""
    try:
        statement = Statement.model_validate_json(content)
    except ValidationError as error:
        raise DataError(f"{which}: its list of files is damaged ({_first(error)}); restore it") from None
    if statement.subject[0].digest.sha256 != _root_digest(statement.predicate.resources):
        raise DataError(f"{which}: its list of files is damaged (its digest is another); restore it")
    if len(statement.files) != len(statement.predicate.resources):
        raise DataError(f"{which}: its list of files is damaged (a file is listed twice); restore it")
    return statement


def sign(statement: Statement, key: Ed25519PrivateKey) -> bytes:
    """The statement in its envelope; the same statement and key give the same bytes."""
    payload = statement.to_json()
    envelope = _Envelope(
        payload=_to_base64(payload), signatures=(_SignatureOfKey(sig=_to_base64(key.sign(_encoded(payload)))),)
    )
    material = _Material(public_key=_PublicKey(hint=key_digest(key.public_key())))
    bundle = _Bundle(material=material, envelope=envelope)
    return canonical_json(bundle.model_dump(mode="json", by_alias=True)).encode()


def _encoded(payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding."""
    return b"DSSEv1 %d %s %d %s" % (len(_PAYLOAD), _PAYLOAD.encode(), len(payload), payload)


def require_signed(
    files: Mapping[str, Sha256], model: str | None, signature: bytes | None, verify_key: str | None, which: str
) -> Signed | None:
    """Whose signature these files of `which` model have; None where there is none and none is asked for.

    `verify_key` is the file of a public key, with which it must have been made. Raises EnvironmentFailed where it was not,
    where there is none, and, key or not, where it is of another model or other files; UsageError where `verify_key` is no
    public key; DataError where the signature is damaged.
    """
    if verify_key is not None:
        read_public_key(verify_key)  # else a key that is none would be reported as a signature that is none
    if signature is None:
        if verify_key is not None:
            raise EnvironmentFailed(
                f"{which}: is not signed, and the key {verify_key} is to verify it; publish it with "
                "publish.sign_key, the first time without a verify key"
            )
        return None
    try:
        bundle = _Bundle.model_validate_json(signature)
        payload, mark = (
            base64.b64decode(text, validate=True)
            for text in (bundle.envelope.payload, bundle.envelope.signatures[0].sig)
        )
    except ValidationError as error:
        raise DataError(f"{which}: its signature is damaged ({_first(error)}); restore it") from None
    except ValueError as error:
        raise DataError(f"{which}: its signature is damaged ({error}); restore it") from None
    if verify_key is not None:
        _verify(payload, mark, bundle.material.public_key.hint, verify_key, which)
    statement = read_statement(payload, which)
    if model is not None and statement.model != model:
        raise EnvironmentFailed(f"{which}: its signature is of another model ({one_line(statement.model, 150)})")
    for name, sha256 in files.items():
        if statement.files.get(name) != sha256:
            why = "is of another file" if name in statement.files else "does not list it"
            raise EnvironmentFailed(
                f"{which}: {one_line(name, 150)} is not as it was signed (the signature {why}); restore it"
            )
    return Signed(bundle.material.public_key.hint, verify_key is not None)


def signer_of(signature: str | None) -> Sha256 | None:
    """The key that a signature says it is of, unverified; None where there is none."""
    try:
        return _Bundle.model_validate_json(signature).material.public_key.hint if signature else None
    except ValidationError:
        return None


def _verify(payload: bytes, mark: bytes, hint: Sha256, verify_key: str, which: str) -> None:
    from cryptography.exceptions import InvalidSignature

    key = read_public_key(verify_key)
    if hint != key_digest(key):
        raise EnvironmentFailed(
            f"{which}: is signed with another key ({hint[:12]}) than {verify_key} ({key_digest(key)[:12]})"
        )
    try:
        key.verify(mark, _encoded(payload))
    except InvalidSignature:
        raise EnvironmentFailed(f"{which}: its signature is wrong: the key {verify_key} did not make it") from None


def read_signature(folder: Path) -> bytes | None:
    """The signature in a folder, None where there is none."""
    try:
        return (folder / SIGNATURE).read_bytes()
    except FileNotFoundError:
        return None


def _to_base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _first(error: ValidationError) -> str:
    first = error.errors()[0]
    return one_line(f"{'.'.join(map(str, first['loc']))}: {first['msg']}", 200)
