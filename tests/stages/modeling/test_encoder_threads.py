"""Encoders that run side by side give what they give one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pytest
import torch

from data_contracts.refs import InputName
from tasks.config import FusionConfig
from tasks.modeling.encoder_spec import EncoderSpec
from tasks.modeling.encoder_threads import EncoderThreads, _halves, one_thread
from tasks.modeling.fusion.classifier import FusedClassifier, Present

TINY = EncoderSpec(encoder="tiny", reads="inputs")
FROZEN = EncoderSpec(encoder="hf:x", reads="embedding", width=4, weights_sha256="0" * 64)
NAMES = ("image", "image_2", "text", "audio")
LENGTHS = torch.tensor([9, 20, 1])


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _model(share: Sequence[str]) -> FusedClassifier:
    torch.manual_seed(0)
    specs = dict.fromkeys(NAMES, TINY) | {"video": FROZEN}
    return FusedClassifier(specs, 3, FusionConfig(embed_dim=8, hidden=8), share).eval()  # type: ignore[arg-type]


def _batch() -> dict[InputName, Present]:
    generator = torch.Generator().manual_seed(1)

    def present(values: torch.Tensor, lengths: torch.Tensor = LENGTHS) -> Present:
        """All three rows."""
        return Present(torch.arange(3), values, lengths)

    return {
        "image": present(torch.rand(3, 3, 16, 16, generator=generator)),
        "image_2": present(torch.rand(3, 3, 16, 16, generator=generator)),
        "text": present(torch.randint(1, 256, (3, 20), generator=generator)),
        "audio": present(torch.randn(3, 20, 64, generator=generator)),
        "video": present(torch.randn(3, 4, generator=generator), torch.ones(3, dtype=torch.int64)),
    }


@pytest.mark.parametrize("share", [(), ("image",)])
@torch.inference_mode()
def test_the_same_bits_come_out_as_of_one_thread(share: Sequence[str]) -> None:
    model, batch = _model(share), _batch()
    encoded = EncoderThreads(model).encode(batch)
    assert set(encoded) == {"image", "image_2", "text", "audio"}, "embeddings are not worth a thread"
    assert torch.equal(model(batch, 3, encoded=encoded).logits, model(batch, 3).logits)


@torch.inference_mode()
@pytest.mark.parametrize("names", [("image",), ("image", "image_2"), ("text", "video"), ("video",), ()])
def test_one_encoder_is_run_by_who_asks(names: Sequence[InputName]) -> None:
    batch = _batch()
    assert EncoderThreads(_model(("image",))).encode({name: batch[name] for name in names}) == {}


def test_an_encoder_that_fails_is_told_and_the_next_batch_is_encoded() -> None:
    model, batch = _model(()), _batch()
    threads = EncoderThreads(model)
    for name in ("audio", "text"):  # one of each half
        with pytest.raises(RuntimeError):
            threads.encode(batch | {name: batch[name]._replace(values=torch.zeros(3, 2, 2, 2, 2))})
        assert set(threads.encode(batch)) >= {"image", "audio"}


def test_the_halves_weigh_about_the_same() -> None:
    sizes: Mapping[InputName, int] = {"audio": 5, "image": 4, "text": 1, "video": 9}
    assert _halves(sizes) == (["video", "text"], ["audio", "image"])


def test_a_thread_of_its_own_leaves_the_number_of_others_as_it_is() -> None:
    torch.set_num_threads(2)
    with one_thread("network") as thread:
        assert (thread.submit(torch.get_num_threads).result(), torch.get_num_threads()) == (1, 2)
