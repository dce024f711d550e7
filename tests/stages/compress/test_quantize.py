"""Packed weights: what is written is read back, at the error that the bits allow, from plain tensors alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor

from tasks.compress.methods import METHODS, Bits, check_methods
from tasks.compress.quantize import pack_weights
from tasks.errors import DataError, UsageError
from tasks.modeling.packed_weights import GROUP, SCALE, pack_int4, unpack_weights


def weights() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "linear.weight": torch.randn(64, 100, generator=generator),  # 100 is no multiple of a group
        "conv.weight": torch.randn(32, 16, 3, 3, generator=generator).to(memory_format=torch.channels_last),
        "norm.weight": torch.randn(64, generator=generator),
        "small.weight": torch.randn(4, 8, generator=generator),
        "steps": torch.tensor(7),
    }


@pytest.mark.parametrize(
    ("bits", "smaller", "error"), [("float16", 1.9, 0.0005), ("int8", 3.4, 0.01), ("int4", 4.3, 0.12)]
)
def test_weights_come_back_close_and_all_else_as_it_was(bits: Bits, smaller: float, error: float) -> None:
    original = weights()
    content = save({name: tensor.contiguous() for name, tensor in pack_weights(original, bits).items()})
    plain = save({name: tensor.contiguous() for name, tensor in original.items()})
    assert len(plain) / len(content) > smaller
    found = unpack_weights(load(content))
    assert found.keys() == original.keys()
    for name, tensor in original.items():
        assert (found[name].shape, found[name].dtype) == (tensor.shape, tensor.dtype)
    for name in ("norm.weight", "small.weight", "steps"):
        assert torch.equal(found[name], original[name])
    for name in ("linear.weight", "conv.weight"):
        assert 0 < float((found[name] - original[name]).square().mean().sqrt() / original[name].std()) < error


def test_kernels_of_convolutions_keep_8_bits_where_matrices_get_4() -> None:
    original = weights()
    four, eight = (pack_weights(original, bits) for bits in ("int4", "int8"))
    assert torch.equal(four["conv.weight"], eight["conv.weight"])
    assert four["linear.weight"].numel() < eight["linear.weight"].numel() * 0.7


def test_a_weight_in_int8_is_off_by_half_a_step_of_its_channel_at_most() -> None:
    original = {"w": torch.randn(40, 50) * torch.logspace(-3, 3, 40)[:, None]}
    found = unpack_weights(pack_weights(original, "int8"))["w"]
    step = original["w"].abs().amax(dim=1, keepdim=True) / 127
    assert bool(((found - original["w"]).abs() <= step * 0.5001).all())


def test_int4_is_no_worse_than_one_scale_to_the_largest_weight() -> None:
    original = torch.randn(32, 64)
    found = unpack_weights(pack_weights({"w": original}, "int4"))["w"]
    groups = original.reshape(-1, GROUP)
    scale = (groups.abs().amax(dim=1, keepdim=True) / 7).half().float()
    plain = ((groups / scale).round().clamp(-7, 7) * scale).reshape(original.shape)
    assert float((found - original).square().sum()) <= float((plain - original).square().sum())


def test_two_numbers_to_a_byte() -> None:
    values = torch.arange(-7, 8).repeat(3)[:GROUP][None].float()
    packed = {"w": pack_int4(values), f"w{SCALE}": torch.ones(1).half(), "w::shape": torch.tensor([1, GROUP])}
    assert torch.equal(unpack_weights(packed)["w"], values)
    assert packed["w"][0, 0] == (-7 + 8) | ((-6 + 8) << 4)


def test_zeros_stay_zeros() -> None:
    original = {"w": torch.zeros(64, 64)}
    assert all(not unpack_weights(pack_weights(original, bits))["w"].any() for bits in ("float16", "int8", "int4"))


@pytest.mark.parametrize("broken", ["scale", "orphan", "shape", "type"])
def test_what_does_not_fit_is_refused(broken: str) -> None:
    packed = pack_weights(weights(), "int4")
    if broken == "scale":
        packed["linear.weight" + SCALE] = packed["linear.weight" + SCALE][:-1]
    elif broken == "orphan":
        del packed["linear.weight"]
    elif broken == "shape":
        packed["linear.weight::shape"] = torch.tensor([64, 5_000_000])
    else:
        packed["linear.weight"] = packed["linear.weight"].float()
    with pytest.raises(DataError, match=r"linear\.weight"):
        unpack_weights(packed)


def test_methods_are_named_once_and_in_one_order() -> None:
    assert check_methods(["prune", "int8", "int8"]) == ("int8", "prune")
    assert check_methods([]) == ()
    with pytest.raises(UsageError, match="did you mean 'onnx'"):
        check_methods(["onxx"])
    assert list(METHODS) == ["float16", "int8", "int4", "onnx", "onnx-int8", "prune", "distill"]


def test_no_file_is_needed_but_the_weights(tmp_path: Path) -> None:
    """A reader of safetensors restores int8 by hand."""
    path = tmp_path / "w.safetensors"
    original = torch.randn(32, 64)
    path.write_bytes(save(pack_weights({"w": original}, "int8")))
    held = load(path.read_bytes())
    by_hand = held["w"].float() * held["w::scale"][:, None]
    assert torch.equal(by_hand, unpack_weights(held)["w"])
