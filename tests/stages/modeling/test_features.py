import errno
import os
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest

from data_contracts.tables import features_schema
from tasks import parquet_parts
from tasks.errors import DataError, EnvironmentFailed
from tasks.modeling import feature_parts
from tasks.modeling.features import FeatureTable, Inputs
from tasks.samples import Samples


def _sounds():
    rng = np.random.default_rng(0)
    return [rng.normal(size=(length, 4)).astype(np.float32) for length in (3, 7, 1, 5)]


def test_rows_are_found_by_digest_whatever_their_order_and_part(store, make_features):
    sounds = _sounds()
    ref, digests = make_features("audio", sounds)
    table = FeatureTable.load(store, ref)
    places = table.locate(pa.chunked_array([[digests[2], None], [digests[1]]]))
    padded = table.take(places)
    assert padded.rows.tolist() == [0, 2]
    assert padded.lengths.tolist() == [1, 7]
    assert padded.values.shape == (2, 7, 4)
    np.testing.assert_array_equal(padded.values[0, :1], sounds[2])
    np.testing.assert_array_equal(padded.values[1], sounds[1])


def test_what_lies_beyond_a_rows_length_is_zero(store, make_features):
    ref, digests = make_features("audio", _sounds())
    table = FeatureTable.load(store, ref)
    padded = table.take(table.locate(pa.array(digests)))
    beyond = np.arange(7) >= padded.lengths[:, None]
    assert np.all(padded.values[beyond] == 0)
    assert np.all(padded.values[~beyond] != 0)


@pytest.mark.parametrize("limit", [1, 60, 1 << 20])
def test_many_small_batches_give_what_one_gives(store, make_features, monkeypatch, limit):
    rng = np.random.default_rng(1)
    sounds = [rng.normal(size=(length, 4)).astype(np.float32) for length in rng.integers(1, 9, 41)]
    ref, digests = make_features("audio", sounds)
    monkeypatch.setattr(feature_parts, "BATCH_BYTES", limit)
    for kept in (range(41), range(0, 41, 3), [7], [40, 0]):
        table = FeatureTable.load(store, ref, only=pa.array([digests[n] for n in kept]))
        padded = table.take(table.locate(pa.array([digests[n] for n in kept])))
        for place, number in enumerate(kept):
            np.testing.assert_array_equal(padded.values[place, : padded.lengths[place]], sounds[number])


def test_many_values_are_mapped_from_a_file_that_goes_with_them(store, make_features, monkeypatch):
    rng = np.random.default_rng(1)
    vectors = [rng.normal(size=(1, 5)).astype(np.float32) for _ in range(9)]
    ref, digests = make_features("image", vectors)
    for only in (None, pa.array(digests[2:7])):
        in_memory = FeatureTable.load(store, ref, only)
        with monkeypatch.context() as patch:
            patch.setattr(feature_parts, "MAPPED_BYTES", in_memory.values.nbytes - 1)
            mapped = FeatureTable.load(store, ref, only)
        assert _is_mapped(mapped.values)
        assert not _is_mapped(in_memory.values)
        np.testing.assert_array_equal(mapped.values, in_memory.values)
        places = mapped.locate(pa.array(digests[3:6]))
        np.testing.assert_array_equal(mapped.take(places).values, in_memory.take(places).values)
        assert list((store.root / "tmp").iterdir()) == [], "nothing is left where the process is killed"


def test_a_disk_without_room_for_them_is_told_beforehand(store, make_features, monkeypatch):
    ref, _ = make_features("image", [np.zeros((1, 5), np.float32)])

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(feature_parts, "MAPPED_BYTES", 1)
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(
        EnvironmentFailed, match=r"image features, .* GB of them .*: No space left on device .*free space"
    ):
        FeatureTable.load(store, ref)


def _is_mapped(values):
    """Whether an array, or what it is a view of, lies in a file."""
    while values is not None and not isinstance(values, np.memmap):
        values = getattr(values, "base", None)
    return values is not None


@pytest.mark.parametrize("kept", [range(9), [4], [0, 8]])
def test_a_part_written_before_is_read_as_well(store, make_features, monkeypatch, kept):
    """Compressed, its values in many pages."""
    rows = list(np.random.default_rng(2).normal(size=(9, 1, 5)).astype(np.float32))
    monkeypatch.setattr(parquet_parts, "_fills_a_page", lambda column: False)
    ref, digests = make_features("text", rows)
    table = FeatureTable.load(store, ref, only=pa.array([digests[n] for n in kept]))
    np.testing.assert_array_equal(
        table.take(table.locate(pa.array([digests[n] for n in kept]))).values, [rows[n] for n in kept]
    )


def test_memory_holds_the_values_once(store, make_features, monkeypatch):
    """Arrow holds a small part of them at any time, and never a list of all: its offsets have 32 bits."""
    ref, _ = make_features("image", [np.zeros((2, 2, 3), np.uint8)] * 2)
    values = np.random.default_rng(0).integers(0, 256, 8 << 20, np.uint8)
    offsets = pa.array(np.arange(0, len(values) + 1, 1 << 12), pa.int32())
    rows = len(offsets) - 1
    columns = [[f"d{n}" for n in range(rows)], [[1, 1 << 12]] * rows, pa.ListArray.from_arrays(offsets, values)]
    whole = pa.Table.from_arrays([pa.array(columns[0]), pa.array(columns[1], pa.list_(pa.int32())), columns[2]],
                                 schema=features_schema("uint8"))  # fmt: skip
    part = store.put_part("features/image", "big", whole)
    del whole, columns
    monkeypatch.setattr(feature_parts, "BATCH_BYTES", 1 << 16)
    held, batches, before = [], feature_parts._batches, pa.total_allocated_bytes()

    def watched(*arguments):
        for batch in batches(*arguments):
            held.append(pa.total_allocated_bytes() - before)
            yield batch

    monkeypatch.setattr(feature_parts, "_batches", watched)
    table = FeatureTable.load(store, ref.model_copy(update={"parts": (part,)}))
    np.testing.assert_array_equal(table.values.ravel(), values)
    assert len(held) > 100
    assert max(held) < values.nbytes / 2, "not even the compressed column is read at once"


def test_a_part_of_another_type_is_an_error(store, make_features):
    ref, _ = make_features("audio", _sounds())
    with pytest.raises(DataError, match="holds float, expected uint8; extract again"):
        FeatureTable.load(store, ref.model_copy(update={"dtype": "uint8"}))


def test_values_that_do_not_fill_their_shapes_are_an_error(store, make_features):
    ref, _ = make_features("audio", _sounds())
    columns = [pa.array(["a"]), pa.array([[2, 4]], pa.list_(pa.int32())), pa.array([[0.0] * 9], pa.list_(pa.float32()))]
    part = store.put_part("features/audio", "odd", pa.Table.from_arrays(columns, schema=features_schema("float32")))
    with pytest.raises(DataError, match="9 values do not fill the shapes"):
        FeatureTable.load(store, ref.model_copy(update={"parts": (part,)}))


def test_only_the_wanted_digests_are_kept(store, make_features):
    ref, digests = make_features("audio", _sounds())
    table = FeatureTable.load(store, ref, only=pa.array(digests[:1]))
    assert len(table.digests) == 1
    assert table.values.shape == (3, 4)


def test_pictures_keep_their_shape_and_type(store, make_features):
    pictures = [np.full((8, 8, 3), n, np.uint8) for n in range(3)]
    ref, digests = make_features("image", pictures)
    table = FeatureTable.load(store, ref)
    padded = table.take(table.locate(pa.array(digests)))
    assert padded.values.dtype == np.uint8
    np.testing.assert_array_equal(padded.values, np.stack(pictures))


def test_a_digest_without_feature_is_an_error_that_counts_them(store, make_features):
    ref, digests = make_features("audio", _sounds())
    with pytest.raises(DataError, match="1 of 3 samples have none"):
        FeatureTable.load(store, ref).locate(pa.array([digests[0], None, "f" * 64]))


def test_a_missing_part_is_an_environment_error(store, make_features):
    ref, _ = make_features("audio", _sounds())
    store.path(ref.parts[0]).unlink()
    with pytest.raises(EnvironmentFailed, match="cannot be read"):
        FeatureTable.load(store, ref)


def test_rows_of_another_inner_shape_are_an_error(store, make_features):
    ref, _ = make_features("audio", [np.zeros((3, 4), np.float32), np.zeros((3, 5), np.float32)])
    with pytest.raises(DataError, match="1 of 2 rows do not have the shape"):
        FeatureTable.load(store, ref)


def test_a_modality_that_no_sample_has_gives_an_empty_batch(store, make_features):
    ref, _ = make_features("audio", _sounds())
    samples = Samples(pa.table({"audio": pa.array([None, None], pa.string())}))
    batch = Inputs.load(samples, {"audio": ref}, store).batch(np.arange(2))
    assert batch["audio"].rows.size == 0


def test_importing_it_leaves_torch_alone():
    code = "import sys, tasks.modeling.features, tasks.train.train; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-P", "-c", code], check=False).returncode == 0
