import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import torchvision
from safetensors.torch import save_file

from data_contracts.modalities import modality_of
from data_contracts.refs import CleanRef, FeatureRef, InputName, RowCounts, Target, ValidatedRef
from data_contracts.tables import features_schema, samples_schema
from tasks.config import RunConfig, load_config
from tasks.store import Store, digest_json
from tasks.train.request import TrainRequest
from tests.support.data import TINY

SMALL = (
    *TINY,
    "train.epochs=3",
    "train.batch_size=8",
    "train.heads=single",
    "fusion.embed_dim=8",
    "fusion.hidden=8",
    "train.threads=1",
)


# What follows the axis that grows from row to row.
_INNER: dict[str, list[int]] = {"audio": [16], "video": [16, 16, 3], "text": []}


@dataclass
class World:
    """A store with twenty tiny samples of three classes, some of them without sound."""

    store: Store
    valid: ValidatedRef
    features: dict[InputName, FeatureRef]
    config: RunConfig

    @property
    def all(self) -> tuple[TrainRequest, Store]:
        return self.asked(), self.store

    def asked(self, **fields: Any) -> TrainRequest:
        return TrainRequest(valid=self.valid, features=self.features, config=self.config, **fields)


def _rows(other: InputName) -> list[dict[str, Any]]:
    rows = []
    for n in range(24):
        split = "train" if n < 16 else "val" if n < 20 else "test"
        media = {name: hashlib.sha256(f"{name}{n}".encode()).hexdigest() for name in ("image", other)}
        row = {"id": f"s{n:02}", "label": "abc"[n % 3], "split": split, "weight": 1.0, "row": n + 1, **media}
        rows.append(row | ({other: None} if n % 5 == 0 else {}))
    return rows


def _put_features(store: Store, name: InputName, rows: list[dict[str, Any]], width: int | None) -> FeatureRef:
    rng = np.random.default_rng(len(name))
    content = []
    for n, row in enumerate(rows):
        if row[name] is None:
            continue
        frames = 1 + n % 3 if name == "video" else 6 + n
        shape = [width] if width else [16, 16, 3] if modality_of(name) == "image" else [frames, *_INNER[name]]
        values = rng.integers(0, 100, shape) + 50 * "abc".index(row["label"])
        if name == "audio" or width:
            values = values / 20 - 8  # the range of a log-mel
        content.append({"digest": row[name], "shape": shape, "values": values.ravel().tolist()})
    dtype = "float32" if name == "audio" or width else "uint8"
    part = store.put_part(f"features/{name}", "shard", pa.Table.from_pylist(content, schema=features_schema(dtype)))
    return FeatureRef(
        uri=f"features/{name}",
        sha256=digest_json(name),
        rows=len(content),
        modality=name,
        encoder="tiny",
        fingerprint=digest_json(name),
        parts=(part,),
        dtype=dtype,
        computed=len(content),
        reused=0,
    )


@pytest.fixture
def shufflenet(tmp_path: Path) -> tuple[str, ...]:
    """Settings under which pictures are read by a small pretrained network with batch norms; its weights are random."""
    return _shufflenet(tmp_path)


@pytest.fixture(scope="module")
def lasting_shufflenet(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """The same for all tests of a file."""
    return _shufflenet(tmp_path_factory.mktemp("shufflenet"))


@pytest.fixture
def make_world(tmp_path: Path) -> Callable[..., World]:
    """Builds a world of images and something else; `change` edits its rows before they are written.

    With `width` they are embeddings of image and video; `targets` are its label columns, if not the one of classes.
    """
    return _maker(tmp_path)


@pytest.fixture(scope="module")
def make_lasting_world(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., World]:
    """The same for all tests of a file."""
    return _maker(tmp_path_factory.mktemp("worlds"))


def _shufflenet(folder: Path) -> tuple[str, ...]:
    torch.manual_seed(0)
    network = torchvision.models.get_model("shufflenet_v2_x0_5")
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0  # so that its statistics are those of a network in use
    network(torch.rand(16, 3, 32, 32))
    path = folder / "shufflenet.safetensors"
    save_file(network.state_dict(), path)
    return f"encoders.image=torchvision:shufflenet_v2_x0_5@{path}", "encoders.image_px=32"


def _maker(folder: Path) -> Callable[..., World]:
    worlds = []

    def make(
        *overrides: str,
        change: Callable[[list[dict[str, Any]]], object] | None = None,
        width: int | None = None,
        other: InputName = "audio",
        targets: tuple[Target, ...] = (),
    ) -> World:
        store = Store(folder / f"store{len(worlds)}")
        other = "video" if width else other
        rows = _rows(other)
        features: dict[InputName, FeatureRef] = {
            name: _put_features(store, name, rows, width) for name in ("image", other)
        }
        if change is not None:
            change(rows)
        store.path("samples").mkdir(parents=True)
        pq.write_table(
            pa.Table.from_pylist(rows, schema=samples_schema((other,))), store.path("samples/samples.parquet")
        )
        sha256 = digest_json(rows)
        clean = CleanRef(
            uri="samples",
            sha256=sha256,
            rows=24,
            counts=RowCounts(rows_in=24, used=24, quarantined=0, duplicates=0),
            splits={"train": 16, "val": 4, "test": 4},
            labels=targets[0].labels if targets else ("a", "b", "c"),
            targets=targets,
            modalities=("image", other),
            media={"image": "x", other: "x"},
        )
        valid = ValidatedRef(uri="samples", sha256=sha256, rows=24, clean=clean, docs="docs")
        worlds.append(store)
        return World(store, valid, features, load_config({}, [*SMALL, *overrides]))

    return make
