"""Several layers of a frozen encoder: which ones a number names, what is kept of them, and what a config may ask for."""

from __future__ import annotations

import copy
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
import transformers as hf
from pydantic import ValidationError
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import layer_norm

from data_contracts.refs import Modality
from tasks.config import EncodersConfig, RunConfig
from tasks.encoder_ids import Layers
from tasks.errors import UsageError
from tasks.modeling.pretrained.depths import Depths, layers_of, resolve_layers
from tasks.modeling.pretrained.describe import describe_encoder, identify_encoder
from tasks.modeling.pretrained.weights import frozen_encoder
from tests.support.families import MEAN, SMALL, STD, TEXT, VISION, pictures, processor, waves

MakeFolder = Callable[..., Path]
RESNET_PX = 64


def load(modality: Modality, encoder: str, layers: Layers, **more: Any) -> Callable[[Tensor, Tensor], Tensor]:
    """The encoder, whose vectors are as long as its spec says."""
    spec = describe_encoder(modality, encoder, "head", EncodersConfig.model_validate({"layers": layers, **more}))
    network = frozen_encoder(modality, spec)

    def look(x: Tensor, lengths: Tensor) -> Tensor:
        with torch.inference_mode():
            found = network(x, lengths)
        assert found.shape == (len(x), spec.width)
        return found

    return look


def normalised(part: Tensor) -> Tensor:
    return layer_norm(part, part.shape[1:])


@pytest.fixture
def resnet(tmp_path: Path) -> tuple[str, nn.Module]:
    torch.manual_seed(0)
    network = torchvision.models.get_model("resnet18").eval()
    path = tmp_path / "resnet18.safetensors"
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, path)
    return f"torchvision:resnet18@{path}", network


@pytest.mark.parametrize(
    ("name", "count", "first"),
    [
        ("mobilenet_v2", 18, "InvertedResidual"),
        ("resnet18", 8, "BasicBlock"),
        ("resnet50", 16, "Bottleneck"),
        ("vit_b_32", 12, "EncoderBlock"),
        ("efficientnet_b0", 17, "MBConv"),
        ("vgg11", 9, "Conv2d"),
    ],
)
def test_layers_are_counted_from_the_first_block_of_the_commonest_kind(name: str, count: int, first: str) -> None:
    from tasks.modeling.pretrained.torchvision_models import _strip_head

    with torch.device("meta"):
        network = torchvision.models.get_model(name)
    _strip_head(network)
    found = [layer for layer in layers_of(network) if list(layer.parameters())]
    assert (len(found), type(found[0]).__name__) == (count, first)


def test_a_layer_of_a_residual_network_is_the_mean_over_its_places(resnet: tuple[str, nn.Module]) -> None:
    encoder, network = resnet
    found = load("image", encoder, (2, "last", 8), image_px=RESNET_PX)(pictures(2, RESNET_PX), torch.ones(2))
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    x = (pictures(2, RESNET_PX) - mean) / std
    with torch.inference_mode():
        second = network.layer1(network.maxpool(network.relu(network.bn1(network.conv1(x)))))
        eighth = network.layer4(network.layer3(network.layer2(second)))
    parts = [second.mean((2, 3)), eighth.mean((2, 3)), eighth.mean((2, 3))]
    torch.testing.assert_close(found, torch.cat([normalised(part) for part in parts], 1), atol=1e-4, rtol=1e-3)


def test_a_layer_of_a_text_counts_real_tokens_only(make_folder: MakeFolder, bert: Path) -> None:
    x, lengths = torch.tensor([[2, 5, 6, 7, 3], [2, 8, 3, 0, 0]]), torch.tensor([5, 3])
    reference = hf.BertModel.from_pretrained(bert, dtype=torch.float32).eval()
    found = load("text", f"hf:{bert}", (1, "last"))(x, lengths)
    with torch.inference_mode():
        for row, count in enumerate((5, 3)):
            states = reference(x[row : row + 1, :count], output_hidden_states=True).hidden_states
            expected = torch.cat([normalised(states[1].mean(1)), normalised(states[2].mean(1))], 1)
            torch.testing.assert_close(found[row : row + 1], expected, atol=1e-4, rtol=1e-3)


def test_of_sound_the_deviation_over_moments_is_kept_too(whisper: Path) -> None:
    x, lengths, rows = waves(16_000, 15_800)
    found = load("audio", f"hf:{whisper}", (2,))(x, lengths)
    reference = hf.WhisperModel.from_pretrained(whisper).eval().encoder
    inputs = hf.AutoFeatureExtractor.from_pretrained(whisper)(rows, sampling_rate=16_000, return_tensors="pt")
    with torch.inference_mode():
        states = reference(inputs.input_features, output_hidden_states=True).hidden_states[2]
    expected = torch.cat([normalised(states.mean(1)), normalised(states.std(1, correction=0))], 1)
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("name", VISION)
def test_every_family_of_pictures_has_depths(make_folder: MakeFolder, name: str) -> None:
    kind, config, _ = VISION[name]
    folder = make_folder(kind, config(), processor())
    last = load("image", f"hf:{folder}", "last")(pictures(), torch.ones(3))
    found = load("image", f"hf:{folder}", "auto")(pictures(), torch.ones(3))
    torch.testing.assert_close(found[:, -last.shape[1] :], normalised(last), atol=1e-4, rtol=1e-3)
    assert found.shape[1] > last.shape[1]
    frames = load("video", f"hf:{folder}", "auto")(pictures(6).view(2, 3, 3, 32, 32), torch.tensor([3, 2]))
    assert frames.shape[1] == found.shape[1]


@pytest.mark.parametrize("name", TEXT)
def test_every_family_of_text_has_depths(make_folder: MakeFolder, bert: Path, name: str) -> None:
    kind, config = TEXT[name]
    folder = make_folder(kind, config())
    for file in ("tokenizer.json", "tokenizer_config.json"):
        (folder / file).write_bytes((bert / file).read_bytes())
    found = load("text", f"hf:{folder}", "auto")(torch.tensor([[2, 7, 9, 11, 3]]), torch.tensor([5]))
    assert found.isfinite().all()
    assert found.shape[1] == 3 * 32


def test_the_kinds_of_clips_have_depths(make_folder: MakeFolder) -> None:
    config = hf.VideoMAEConfig(image_size=32, patch_size=16, num_frames=4, tubelet_size=2, **SMALL)
    shaping = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    folder = make_folder(hf.VideoMAEModel, config, hf.VideoMAEImageProcessor(image_mean=MEAN, image_std=STD, **shaping))
    assert (
        load("video", f"hf:{folder}", (1, "last"))(pictures(6).view(2, 3, 3, 32, 32), torch.tensor([3, 2])).shape[1]
        == 64
    )


def test_threads_and_copies_keep_their_layers_apart() -> None:
    network = nn.Sequential(*[nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4), nn.Tanh()) for _ in range(3)])
    torch.manual_seed(0)
    inputs = [torch.randn(5, 7, 4) for _ in range(64)]
    depths = Depths(network, (2, "last"), spread=False)

    def look(x: Tensor) -> Tensor:
        with torch.inference_mode():
            return depths(network(x).mean(1))

    alone = [look(x) for x in inputs]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(look, inputs))
    for one, other in zip(alone, together, strict=True):
        torch.testing.assert_close(one, other)
    assert not torch.equal(alone[0], alone[1])
    both = nn.ModuleList([network, depths])
    copied = copy.deepcopy(both)
    with torch.inference_mode():
        torch.testing.assert_close(copied[1](copied[0](inputs[0]).mean(1)), alone[0])
        copied[0][1][0].weight.zero_()
        torch.testing.assert_close(look(inputs[0]), alone[0])


def test_a_layer_without_places_is_taken_as_it_is() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(*[nn.Sequential(nn.Linear(4, 4), nn.Tanh()) for _ in range(4)])
    depths, x = Depths(network, (1,), spread=True), torch.randn(3, 4)
    with torch.inference_mode():
        found, expected = depths(network(x)), normalised(network[0](x))
    torch.testing.assert_close(found, torch.cat([expected, torch.zeros(3, 4)], 1))


def test_auto_spreads_over_the_depth() -> None:
    with torch.device("meta"):
        mobilenet = torchvision.models.mobilenet_v2()
    assert resolve_layers("image", "auto", mobilenet) == [6, 11, 17, "last"]
    assert resolve_layers("image", "last", mobilenet) == ["last"]


def test_what_is_no_layer_is_refused(resnet: tuple[str, nn.Module]) -> None:
    encoder, _ = resnet
    with pytest.raises(UsageError, match=r"encoders\.layers\.image: .*: layer 9: it has layers 1 to 8"):
        describe_encoder("image", encoder, "head", EncodersConfig.model_validate({"layers": [9]}))
    with pytest.raises(UsageError, match=r"encoders\.layers\.image = \[2\]: .* is trained here"):
        describe_encoder("image", encoder, "full", EncodersConfig.model_validate({"layers": [2]}))
    with pytest.raises(UsageError, match=r"encoders\.layers\.image = \[2\]: tiny has no layers"):
        identify_encoder("image", "tiny", "head", EncodersConfig.model_validate({"layers": {"image": [2]}}))
    for wrong in ([], [0], [2, 2], ["first"], "deep", {"smell": "auto"}):
        with pytest.raises(ValidationError):
            EncodersConfig.model_validate({"layers": wrong})


def test_one_setting_is_for_all_and_trained_encoders_ignore_auto(resnet: tuple[str, nn.Module]) -> None:
    encoder, _ = resnet
    config = EncodersConfig.model_validate({"layers": "auto"})
    assert {config.layers.of(name) for name in ("image", "text", "audio", "video")} == {"auto"}
    assert RunConfig.model_validate({"encoders": {"layers": {"audio": [2]}}}).encoders.layers.of("audio") == (2,)
    assert identify_encoder("image", encoder, "full", config).layers == "last"
    assert identify_encoder("image", "tiny", "head", config).layers == "last"
    assert identify_encoder("image", encoder, "head", config).layers == "auto"
    assert "layers" not in identify_encoder("image", encoder, "head", EncodersConfig()).model_dump(mode="json")
