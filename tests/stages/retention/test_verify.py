"""What of a store is found to be not as it was written, and what is not looked for in it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pyarrow as pa
import pytest

from tasks.retention.verify import RECOMPUTED, SHARED, Checked, verify_items
from tasks.store import Store, canonical_json, digest_json, read_record

CHAIN = ("clean/c", "validations/v", "checkpoints/t", "evaluations/e", "verdicts/d")


@pytest.fixture
def chain(store: Store) -> Store:
    for above, uri in zip((None, *CHAIN), CHAIN, strict=False):
        put(store, uri, () if above is None else (above,))
    return store


def put(store: Store, uri: str, parents: tuple[str, ...] = (), content: str = "first") -> None:
    kind, _, key = uri.partition("/")
    with store.create(kind, key, parents, code="0" * 64) as draft:
        (draft.path / "a").write_text(content)
        draft.ref = {"uri": uri, "content": content}


def problems(store: Store, deep: bool = False) -> list[tuple[str, str]]:
    return [(found.uri, found.problem) for found in verify_items(store.root, deep, Checked())]


def rewrite(path: Path, **changes: object) -> None:
    """A record that says something else, with a digest that is right."""
    record = json.loads(path.read_text())
    del record["sha256"]
    record |= changes
    path.write_text(canonical_json({**record, "sha256": digest_json(record)}))


def test_an_intact_store_has_no_findings_and_is_counted(chain: Store) -> None:
    chain.put_part("media/image/f", "k", pa.table({"a": [1]}))
    checked = Checked()
    assert list(verify_items(chain.root, True, checked)) == []
    assert (checked.artifacts, checked.files, checked.parts) == (5, 5, 1)
    assert checked.bytes > 25


def test_an_intact_artifact_in_the_place_of_another_is_seen_by_what_was_made_from_it(chain: Store) -> None:
    put(chain, "checkpoints/other", ("validations/v",), content="second")
    chain.path("checkpoints/t").rename(chain.root / "aside")
    chain.path("checkpoints/other").rename(chain.path("checkpoints/t"))
    rewrite(chain.path("checkpoints/t") / "artifact.json", key="t", ref={"uri": "checkpoints/t", "content": "second"})
    assert problems(chain) == [("evaluations/e", "it was made from another checkpoints/t than lies there")]
    assert chain.find("checkpoints", "t") is not None
    assert chain.find("evaluations", "e") is None
    assert chain.damaged == ["evaluations/e"]


@pytest.mark.parametrize("uri", CHAIN[:-1])
def test_another_record_anywhere_below_a_verdict_breaks_its_chain(chain: Store, uri: str) -> None:
    rewrite(chain.path(uri) / "artifact.json", ref={"uri": uri, "content": "other"})
    after = CHAIN[CHAIN.index(uri) + 1]
    assert problems(chain) == [(after, f"it was made from another {uri} than lies there")]


def test_the_same_work_done_again_keeps_the_chain(chain: Store) -> None:
    before = read_record(chain.root, "clean/c")
    chain.path("clean/c").rename(chain.root / "gone")
    assert problems(chain) == [], "what is not there breaks nothing"
    put(chain, "clean/c")
    again = read_record(chain.root, "clean/c")
    assert before is not None
    assert again is not None
    assert again.link == before.link
    assert problems(chain) == []


def test_damaged_bytes_are_found_by_reading_them(chain: Store) -> None:
    part = chain.put_part("media/image/f", "k", pa.table({"a": [1]}))
    (chain.path("verdicts/d") / "a").write_text("fIrst")
    data = bytearray(chain.path(part).read_bytes())
    data[10] ^= 1
    chain.path(part).write_bytes(data)
    assert problems(chain) == []
    assert [uri for uri, _ in problems(chain, deep=True)] == ["verdicts/d", part]


def test_damage_under_every_name_of_a_file_is_not_told_as_no_loss(chain: Store, tmp_path: Path) -> None:
    weights = chain.path("checkpoints/t") / "a"
    os.link(weights, tmp_path / "published")
    weights.write_text("fIrst")
    (chain.path("verdicts/d") / "a").write_text("fIrst")
    told = {found.uri: found.to_do for found in verify_items(chain.root, True, Checked())}
    assert told == {"checkpoints/t": SHARED, "verdicts/d": RECOMPUTED}


def test_what_is_gone_or_says_two_things_is_found_without_reading_bytes(chain: Store) -> None:
    (chain.path("clean/c") / "a").unlink()
    (chain.path("verdicts/d") / "artifact.json").write_text("{}")
    rewrite(chain.path("evaluations/e") / "artifact.json", ref={"uri": "evaluations/other", "content": "first"})
    assert problems(chain) == [
        ("clean/c", "a is gone"),
        ("evaluations/e", "its ref is of evaluations/other"),
        ("verdicts/d", "its record is gone or is not as it was written"),
    ]
