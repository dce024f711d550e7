"""The keys of signatures: ed25519, in PEM. `cryptography` is imported where there is one."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from data_contracts.refs import Sha256
from tasks.errors import UsageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

_MADE_WITH = "openssl genpkey -algorithm ed25519"


def read_public_key(path: str) -> Ed25519PublicKey:
    """The public key in a PEM file. UsageError where there is none of ed25519."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        key = serialization.load_pem_public_key(Path(path).read_bytes())
    except OSError as error:
        raise UsageError(f"verify_key {path}: cannot be read ({error.strerror})") from None
    except (ValueError, UnsupportedAlgorithm):
        raise UsageError(
            f"verify_key {path}: is no public key in PEM; write it with openssl pkey -in KEY -pubout"
        ) from None
    if not isinstance(key, Ed25519PublicKey):
        raise UsageError(f"verify_key {path}: is no ed25519 key; make one with {_MADE_WITH}")
    return key


def parse_private_key(content: bytes, where: str) -> Ed25519PrivateKey:
    """The private key in PEM, from `where`. UsageError, which holds nothing of it, where it is none of ed25519."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    try:
        key = serialization.load_pem_private_key(content, password=None)
    except TypeError:
        raise UsageError(
            f"sign_key {where}: is encrypted; keep it without a passphrase, readable by its owner only"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise UsageError(f"sign_key {where}: is no private key in PEM; make one with {_MADE_WITH}") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise UsageError(f"sign_key {where}: is no ed25519 key; make one with {_MADE_WITH}")
    return key


def key_digest(key: Ed25519PublicKey) -> Sha256:
    """The sha256 of a public key's PEM, by which signatures name it."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return hashlib.sha256(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)).hexdigest()
