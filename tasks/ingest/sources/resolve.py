"""Where the data come from: a path of the user's, or a built-in set that is written into the store once."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from tasks.config import RunConfig
from tasks.errors import UsageError
from tasks.fingerprint import code_fingerprint
from tasks.ingest.manifest.rows import SPLITS
from tasks.ingest.rejected_row import Refused
from tasks.ingest.sources.remote import is_remote, make_remote
from tasks.ingest.sources.shards import names_range
from tasks.ingest.sources.tables import TABLES, is_table
from tasks.redaction import is_redacted, redact
from tasks.store import Store, digest_json

BUILTIN = "builtin:"
_NAME_CHARS = 100  # what a model's name may have; see tasks/publish/model_names.py


def locate_data(config: RunConfig, store: Store) -> Path:
    """The path of the data, made first when it is `builtin:digits`, fetched first when it is remote.

    UsageError for a path that does not exist, or that may not be read.
    """
    path = config.data.path
    if path.startswith(BUILTIN):
        if path != "builtin:digits":
            raise UsageError(f"data.path {path!r}: the only built-in data set is builtin:digits")
        return _builtin_digits(config.seed, store)
    if is_remote(path):
        return _fetch_manifest(config, store)
    if not Path(path).exists() and not names_range(Path(path)):
        raise UsageError(
            f"data {path!r}: no such file or folder; give a manifest, or a folder with one folder per class"
        )
    return Path(path).absolute()


def _fetch_manifest(config: RunConfig, store: Store) -> Path:
    """A remote manifest as a file of the store, under its own name: one copy for each content that it has had.

    Its cells may hold signatures, by which media are fetched again: only the owner may read the file.
    """
    path = config.data.path
    if is_redacted(path):
        raise UsageError(f"data {path!r}: what was cut out of this address is not kept with a run; give it whole")
    remote = make_remote(config, config.data.max_manifest_mb)
    try:
        url = remote.allow(path)
        name = PurePosixPath(urlsplit(url).path or url).name
        if not is_table(name):
            raise UsageError(f"data {path!r}: a remote manifest is a file that ends in {', '.join(TABLES)}")
        data = remote.fetch(url)
    except Refused as refused:
        raise UsageError(f"data {path!r}: {refused.reason} ({refused.detail})") from None
    key = digest_json([redact(url, ()), hashlib.sha256(data).hexdigest()])
    if store.find("manifests", key) is None:
        with store.create("manifests", key) as draft:
            (draft.path / name).touch(mode=0o600)
            (draft.path / name).write_bytes(data)
    return store.path(f"manifests/{key}") / name


def _builtin_digits(seed: int, store: Store) -> Path:
    from tasks.ingest.sources.digits import build_digits

    key = digest_json({"seed": seed, "code": code_fingerprint("digits")})
    if store.find("datasets/digits", key) is None:
        with store.create("datasets/digits", key) as draft:
            build_digits(draft.path, seed)
    return store.path(f"datasets/digits/{key}") / "manifest.parquet"


def name_of_data(path: str) -> str:
    """A model name from a data path: the folder's for manifest.csv, `cifar10-test` for cifar10/test.parquet."""
    if path.startswith(BUILTIN):
        return path.removeprefix(BUILTIN)
    place = Path(re.split(r"[?#]", redact(path))[0] if is_remote(path) else path).absolute()
    stem, parent = (place.stem if place.suffix else place.name), place.parent.name
    name = parent if stem.lower() == "manifest" else f"{parent}-{stem}" if stem.lower() in SPLITS else stem
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name)[:_NAME_CHARS].strip("-._") or "model"
