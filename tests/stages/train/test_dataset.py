import numpy as np
import pyarrow as pa
import pytest
import torch

from tasks.errors import DataError
from tasks.modeling.encoder_spec import EncoderSpec
from tasks.modeling.features import FeatureTable, Inputs
from tasks.train.dataset import Dataset, ResidentSource, TableSource, source_of

CPU = torch.device("cpu")


def _inputs(places):
    def table(name, width):
        values = np.random.default_rng(width).random(5 * width, np.float32)
        lengths = np.full(5, width)
        return FeatureTable(name, pa.array(list("abcde")), np.arange(5) * width, lengths, values)

    tables = {"image": table("image", 7), "text": table("text", 3)}
    return Inputs(tables, {name: np.array(place) for name, place in places.items()}, 4)


@pytest.mark.parametrize("rows", [[0, 1, 2, 3], [3, 0], [2], [1, 1]])
def test_tensors_on_the_device_give_what_tables_give(rows):
    inputs = _inputs({"image": [4, 0, 2, 1], "text": [-1, 3, -1, 0]})
    rows = np.array(rows)
    resident, plain = ResidentSource(inputs, CPU).take(rows), TableSource(inputs, CPU).take(rows)
    assert resident.keys() == plain.keys()
    for name, part in plain.items():
        for one, other in zip(resident[name], part, strict=True):
            assert torch.equal(one, other)


def test_half_precision_on_the_device_comes_out_as_float32():
    inputs = _inputs({"image": [4, 0, 2, 1], "text": [1, 3, 2, 0]})
    table = inputs.tables["text"]
    half = FeatureTable("text", table.digests, table.starts, table.lengths, table.values.astype(np.float16))
    source = ResidentSource(Inputs({"text": half}, {"text": inputs.places["text"]}, 4), CPU)
    assert source.tables["text"].dtype == torch.float16
    assert source.take(np.arange(4))["text"].values.dtype == torch.float32


@pytest.mark.parametrize(
    ("reads", "kind"), [(("embedding", "embedding"), ResidentSource), (("embedding", "inputs"), TableSource)]
)
def test_only_embeddings_alone_stay_on_the_device(reads, kind):
    inputs = _inputs({"image": [4, 0, 2, 1], "text": [1, 3, 2, 0]})
    specs = {
        name: EncoderSpec(encoder="hf:x", reads=how, width=3)
        for name, how in zip(("image", "text"), reads, strict=True)
    }
    assert isinstance(source_of(inputs, specs, CPU), kind)


def test_vectors_have_no_tokens_to_budget():
    data = Dataset(_inputs({"image": [4, 0, 2, 1], "text": [1, 3, 2, 0]}), None, np.ones(4, np.float32))
    with pytest.raises(DataError, match=r"train\.max_tokens: the text encoder is frozen"):
        data.text_lengths()


def test_a_row_counts_for_its_longest_text_times_their_number():
    """So that what both texts of some rows fill, each padded to its longest, is never more than the budget says."""

    def table(name, lengths):
        lengths = np.array(lengths)
        return FeatureTable(
            name, pa.array(list("abcd")), np.cumsum(lengths) - lengths, lengths, np.zeros(lengths.sum(), np.int32)
        )

    tables = {"text": table("text", [1, 5, 2, 9]), "text_2": table("text_2", [4, 3, 6, 1])}
    places = {"text": np.array([0, 1, 2, 3, -1, -1]), "text_2": np.array([0, 1, -1, 3, 2, -1])}
    data = Dataset(Inputs(tables, places, 6), None, np.ones(6, np.float32))
    assert data.text_lengths().tolist() == [8, 10, 4, 18, 12, 0]
