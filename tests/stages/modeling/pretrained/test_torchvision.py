"""torchvision's networks: heads off, blocks in order, weights where they belong."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import load_file, save_file

from data_contracts.refs import InputName
from tasks.config import EncodersConfig
from tasks.errors import EnvironmentFailed, UsageError
from tasks.modeling.encoder_spec import EncoderSpec
from tasks.modeling.encoders import build_encoder
from tasks.modeling.pretrained.adapter import Pretrained, pick_frames
from tasks.modeling.pretrained.describe import describe_encoder
from tasks.modeling.pretrained.families import build_pretrained
from tasks.modeling.pretrained.weights import frozen_encoder

NETWORKS: list[tuple[InputName, str, int, int]] = [
    ("image", "resnet18", 512, 9),
    ("image", "resnet50", 2048, 17),
    ("image", "vgg16", 4096, 14),
    ("image", "inception_v3", 2048, 16),
    ("image", "mobilenet_v2", 1280, 19),
    ("image", "convnext_tiny", 768, 23),
    ("image", "vit_b_16", 768, 13),
    ("image", "squeezenet1_1", 512, 9),
    ("image", "efficientnet_b0", 1280, 18),
    ("image", "swin_t", 768, 16),
    ("image", "densenet121", 1024, 8),
    ("image", "regnet_y_400mf", 440, 0),
    ("video", "r3d_18", 512, 9),
    ("video", "swin3d_t", 768, 16),
    ("video", "resnet18", 512, 9),
]


def scratch(modality: InputName, name: str, px: int | None = None) -> EncoderSpec:
    return describe_encoder(modality, f"torchvision:{name}@random", "full", EncodersConfig(image_px=px))


@pytest.mark.parametrize(("modality", "name", "width", "blocks"), NETWORKS)
def test_the_head_is_off_and_the_blocks_hold_all(modality: InputName, name: str, width: int, blocks: int) -> None:
    spec = scratch(modality, name)
    assert spec.width == width
    if not blocks:
        return  # its shape cannot be known without its weights
    with torch.device("meta"), torch.inference_mode():
        encoder = build_pretrained(modality, spec).eval()
        side = spec.settings["px"]
        x = torch.zeros(2, 3, side, side) if modality == "image" else torch.zeros(2, 3, 3, side, side)
        if (modality, name) != ("video", "resnet18"):  # which frames are real cannot be known without their lengths
            assert encoder(x, torch.tensor([3, 2])).shape == (2, width)
    found = encoder.blocks()
    assert len(found) == blocks
    held = sum(parameter.numel() for block in found for parameter in block.parameters())
    assert held >= 0.99 * sum(parameter.numel() for parameter in encoder.parameters())
    order = {id(parameter): place for place, parameter in enumerate(encoder.parameters())}
    firsts = [order[id(next(block.parameters()))] for block in found]
    assert firsts == sorted(firsts)


@pytest.mark.parametrize("name", ["resnet18", "squeezenet1_1", "inception_v3", "vit_b_32"])
def test_weights_give_what_torchvision_computes(tmp_path: Path, name: str) -> None:
    torch.manual_seed(0)
    options = {"transform_input": True, "init_weights": False} if name == "inception_v3" else {}
    reference = torchvision.models.get_model(name, **options)
    path = tmp_path / "weights.safetensors"
    save_file({key: value.contiguous() for key, value in reference.state_dict().items()}, path)
    spec = describe_encoder("image", f"torchvision:{name}@{path}", "head", EncodersConfig())
    head = {"vit_b_32": "heads.head", "squeezenet1_1": "classifier.1"}.get(name, "fc")
    parent, _, attribute = head.rpartition(".")
    setattr(reference.get_submodule(parent), attribute, torch.nn.Identity())
    side = spec.settings["px"]
    x = torch.rand(1, 3, side, side)
    mean, std = (torch.tensor(spec.settings[key]).view(3, 1, 1) for key in ("mean", "std"))
    with torch.inference_mode():
        expected = reference.eval()((x - mean) / std)
        found = frozen_encoder("image", spec)(x, torch.ones(1))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize(
    ("modality", "name"),
    [
        ("image", "resnet18"),
        ("image", "resnet50"),
        ("image", "googlenet"),
        ("image", "densenet121"),
        ("image", "mobilenet_v2"),
        ("image", "shufflenet_v2_x1_0"),
        ("image", "vgg11_bn"),
        ("image", "efficientnet_b0"),
        ("image", "regnet_x_400mf"),
        ("video", "r3d_18"),
    ],
)
def test_a_settled_network_gives_the_same(modality: InputName, name: str) -> None:
    torch.manual_seed(0)
    encoder = build_pretrained(modality, scratch(modality, name, 96))
    for module in encoder.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.running_mean = (torch.rand(module.num_features) - 0.5) * 0.1  # as if it had been trained
            module.running_var = torch.rand(module.num_features) + 0.5
    x = torch.rand(2, 3, 96, 96) if modality == "image" else torch.rand(2, 2, 3, 96, 96)
    with torch.inference_mode():
        before = encoder.eval()(x, torch.tensor([2, 1]))
        encoder.freeze_for_inference()
        after = encoder(x, torch.tensor([2, 1]))
    torch.testing.assert_close(after / before.abs().max(), before / before.abs().max(), atol=1e-4, rtol=1e-3)
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    folded = not any(isinstance(module, torch.nn.modules.batchnorm._BatchNorm) for module in encoder.modules())
    assert folded or name == "densenet121"  # a norm before its convolution cannot be folded


def test_a_vision_transformer_is_read_at_another_side(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file(torchvision.models.get_model("vit_b_32").state_dict(), path)
    spec = describe_encoder("image", f"torchvision:vit_b_32@{path}", "head", EncodersConfig(image_px=96))
    with torch.inference_mode():
        assert frozen_encoder("image", spec)(torch.rand(2, 3, 40, 40), torch.ones(2)).shape == (2, 768)


@pytest.mark.parametrize(("name", "px"), [("vit_b_16", 100), ("inception_v3", 48)])
def test_a_side_that_a_network_cannot_read_is_told(name: str, px: int) -> None:
    with pytest.raises(UsageError, match=f"cannot read pictures of {px} px"):
        scratch("image", name, px)


def test_weights_of_another_network_are_told(squeezenet: Path, tmp_path: Path) -> None:
    spec = describe_encoder("image", f"torchvision:resnet18@{squeezenet}", "head", EncodersConfig())
    with pytest.raises(
        EnvironmentFailed, match=r"tensors are not there or of another shape, for example conv1\.weight"
    ):
        frozen_encoder("image", spec)
    half = load_file(squeezenet)
    del half["features.12.expand3x3.weight"]
    save_file(half, tmp_path / "half.safetensors")
    spec = describe_encoder("image", f"torchvision:squeezenet1_1@{tmp_path}/half.safetensors", "head", EncodersConfig())
    with pytest.raises(EnvironmentFailed, match=r"1 of 50 tensors .* features\.12\.expand3x3\.weight"):
        frozen_encoder("image", spec)


def test_bytes_that_are_no_weights_are_told(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(b"nothing of the kind")
    spec = describe_encoder("image", f"torchvision:resnet18@{path}", "head", EncodersConfig())
    with pytest.raises(EnvironmentFailed, match="cannot be read"):
        frozen_encoder("image", spec)


def test_the_card_alone_rebuilds_the_network() -> None:
    spec = EncoderSpec.model_validate_json(scratch("image", "resnet18", 64).model_dump_json())
    encoder = build_encoder("image", spec)
    assert isinstance(encoder, Pretrained)
    encoder.train()
    vectors = encoder(torch.rand(2, 3, 32, 32), torch.ones(2))
    vectors.sum().backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())


def test_frames_are_spread_over_what_is_real() -> None:
    x = torch.arange(8).view(2, 4, 1).float()
    picked = pick_frames(x, torch.tensor([4, 2]), 4).flatten(1)
    assert picked.tolist() == [[0, 1, 2, 3], [4, 4, 5, 5]]
    assert pick_frames(x, torch.tensor([4, 1]), 2).flatten(1).tolist() == [[1, 3], [4, 4]]
