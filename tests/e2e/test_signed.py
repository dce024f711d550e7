"""A signed model in use: published with a key of Prefect, moved and copied with its store, exported, refused when altered."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

import crossmodal as product
from tasks.errors import CrossmodalError

SAVE_BLOCK = """
import sys
from pathlib import Path
from flows.environment import use_prefect
use_prefect(Path(sys.argv[1]))
from prefect.blocks.system import Secret
Secret(value=sys.stdin.read()).save("sign-key")
"""


def run(store: Path, *arguments: str | Path, status: int = 0, **environment: str) -> Any:
    command = [sys.executable, "-m", "flows", *map(str, arguments), "--store", str(store), "--json"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | environment)
    assert ran.returncode == status, ran.stdout[-1000:] + ran.stderr[-2000:]
    return json.loads(ran.stdout.splitlines()[-1]) if status == 0 else ran.stderr


@pytest.mark.slow
def test_a_signed_model_from_its_key_to_its_refusal(learnable: Path, small_settings: list[str], tmp_path: Path) -> None:
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    public = tmp_path / "verify.pem"
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    store, verified = tmp_path / "a b%20?#ü", {"CROSSMODAL_VERIFY_KEY": str(public)}
    saved = subprocess.run([sys.executable, "-c", SAVE_BLOCK, str(store)], input=pem, text=True, check=False)
    assert saved.returncode == 0
    assert (store / "prefect" / "prefect.db").is_file(), "Prefect's database is the store's, whatever its path"
    retrain = ("retrain", "--data", learnable, *small_settings)
    signing = ("--set", "publish.sign_key=prefect-block:sign-key")
    assert "no Secret block of that name" in run(store, *retrain, "--plain", *signing[:1], f"{signing[1]}2", status=2)
    first = run(store, *retrain, *signing)
    assert first["verdict"] == "promote"
    lines = [line for line in pem.splitlines() if not line.startswith("-")]
    assert not [path for path in store.rglob("*") if path.is_file() and lines[0].encode() in path.read_bytes()]

    moved = store.rename(tmp_path / "moved 100%")
    again = run(moved, *retrain, "--plain", *signing, **verified)
    assert (again["verdict"], set(again["work"]["computed"].values())) == ("unchanged", {0})
    out = tmp_path / "predictions.parquet"
    run(moved, "predict", learnable, "--out", out, **verified)
    expected = pq.read_table(out)
    copy = shutil.copytree(moved, tmp_path / "copy")
    second = run(copy, *retrain, "--plain", *signing, "--set", "seed=1", "--set", "gate.mode=not-worse", **verified)
    assert second["verdict"] in ("promote", "reject", "inconclusive")
    assert [entry["versions"] for entry in run(moved, "models", "list")] == [1], "the copy is a store of its own"
    run(moved, "predict", learnable, "--out", out, **verified)
    assert pq.read_table(out).equals(expected)

    folder = tmp_path / "release"
    run(moved, "models", "export", "learnable", folder, **verified)
    assert run(moved, "models", "verify", folder, **verified)["signature"].endswith("(verified)")
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        before = path.read_bytes()
        path.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
        with pytest.raises(CrossmodalError):
            product.load(folder, verify_key=public)
        path.write_bytes(before)
    other = tmp_path / "other.pem"
    other.write_bytes(
        Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    for command in (("predict", learnable, "--out", out), ("models", "promote", "learnable", "1", "--alias", "best")):
        said = run(moved, *command, status=4, CROSSMODAL_VERIFY_KEY=str(other))
        assert "model learnable version 1: is signed with another key" in said
