"""Augmentation: repeatable, in its bounds, and only of what the encoder can bear. Colours as torchvision changes them."""

import pytest
import torch
from torchvision.transforms.v2 import functional as reference

from tasks.config import TrainConfig
from tasks.modeling.augment import augment
from tasks.modeling.augment_audio import _warp
from tasks.modeling.augment_images import OPERATIONS, change_pictures
from tasks.modeling.color_ops import RECOLOURINGS
from tasks.modeling.encoder_spec import EncoderSpec
from tasks.modeling.fusion.classifier import Present

MODALITIES = ("image", "text", "audio", "video")
TINY = dict.fromkeys(MODALITIES, EncoderSpec(encoder="tiny", reads="inputs"))
TUNED = dict.fromkeys(MODALITIES, EncoderSpec(encoder="hf:x", reads="inputs", weights_sha256="0" * 64))
FROZEN = dict.fromkeys(MODALITIES, EncoderSpec(encoder="hf:x", reads="embedding", width=6, weights_sha256="0" * 64))
PHOTOS = TrainConfig(horizontal_flip=True, min_crop_scale=0.3, trivial_augment=True)


def draw(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make_batch(size: int = 16) -> dict[str, Present]:
    numbers, rows = draw(), torch.arange(size)
    lengths = torch.randint(1, 12, (size,), generator=numbers)
    return {
        "image": Present(rows, torch.rand(size, 3, 32, 32, generator=numbers), torch.full((size,), 32)),
        "text": Present(rows, torch.randint(0, 256, (size, 11), generator=numbers), lengths),
        "audio": Present(rows, torch.randn(size, 20, 64, generator=numbers), lengths),
        "video": Present(rows, torch.rand(size, 3, 3, 16, 16, generator=numbers), lengths.clamp(max=3)),
    }


@pytest.mark.parametrize("config", [TrainConfig(horizontal_flip=True), PHOTOS])
def test_it_repeats_with_its_generator_and_keeps_shapes(config: TrainConfig) -> None:
    batch = make_batch()
    torch.manual_seed(1)
    state = torch.get_rng_state()
    one, same, other = (augment(batch, config, TINY, draw(seed)) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)  # the global generator has a use of its own
    for name in MODALITIES:
        torch.testing.assert_close(one[name].values, same[name].values, rtol=0, atol=0)
        different = one[name].values.shape != other[name].values.shape
        assert different or not torch.equal(one[name].values, other[name].values)
        assert one[name].values.isfinite().all()
        assert int(one[name].lengths.min()) >= 1
        assert int(one[name].lengths.max()) <= one[name].values.shape[1] or name == "image"
    for name in ("image", "video"):
        assert one[name].values.shape == batch[name].values.shape
        assert float(one[name].values.min()) >= 0
        assert float(one[name].values.max()) <= 1


def test_embeddings_stay_whatever_modality_they_stand_for() -> None:
    rows = torch.arange(4)
    batch = {name: Present(rows, torch.randn(4, 6), torch.ones(4).long()) for name in MODALITIES}
    after = augment(batch, PHOTOS, FROZEN, draw())
    assert all(torch.equal(after[name].values, batch[name].values) for name in MODALITIES)


def test_tokens_and_waveforms_of_pretrained_encoders_stay_and_spectrograms_are_only_masked() -> None:
    batch = make_batch()
    after = augment(batch, PHOTOS, TUNED, draw())
    assert torch.equal(after["text"].values, batch["text"].values)
    assert not torch.equal(after["image"].values, batch["image"].values)
    same = after["audio"].values == batch["audio"].values
    assert torch.equal(after["audio"].lengths, batch["audio"].lengths)
    assert 0.5 < float(same.float().mean()) < 1
    wave = {"audio": Present(torch.arange(2), torch.randn(2, 400), torch.tensor([400, 90]))}
    assert torch.equal(augment(wave, PHOTOS, TUNED, draw())["audio"].values, wave["audio"].values)


@pytest.mark.parametrize("config", [TrainConfig(horizontal_flip=True), PHOTOS])
def test_all_frames_of_a_clip_change_alike(config: TrainConfig) -> None:
    frame = torch.rand(40, 1, 3, 16, 16)
    part = Present(torch.arange(40), frame.expand(40, 4, 3, 16, 16), torch.full((40,), 4))
    moved = augment({"video": part}, config, TINY, draw())["video"].values
    assert moved.shape == (40, 4, 3, 16, 16)
    torch.testing.assert_close(moved, moved[:, :1].expand_as(moved), rtol=0, atol=0)
    assert not torch.equal(moved, part.values)


@pytest.mark.parametrize("crop", [0.3, 1.0])
def test_pictures_are_mirrored_only_when_asked(crop: float) -> None:
    ramp = torch.linspace(0, 1, 32).expand(64, 3, 32, 32)
    rows = Present(torch.arange(64), ramp, torch.full((64,), 32))
    generator = draw()
    for flip, expected in ((False, False), (True, True)):
        x = augment({"image": rows}, TrainConfig(horizontal_flip=flip, min_crop_scale=crop), TINY, generator)[
            "image"
        ].values
        mirrored = x[:, 0, 16, 4] > x[:, 0, 16, 28]
        assert bool(mirrored.any()) is expected
        assert not bool(mirrored.all())


def test_a_crop_keeps_between_its_share_and_all_of_the_picture() -> None:
    across = torch.linspace(0, 1, 64).expand(200, 1, 3, 64, 64)
    down = across.transpose(3, 4)
    config = TrainConfig(min_crop_scale=0.25)
    wide, high = (change_pictures(x, config, draw()).flatten(1) for x in (across, down))
    area = (wide.amax(1) - wide.amin(1)) * (high.amax(1) - high.amin(1))
    assert 0.2 < float(area.min()) < 0.35
    assert 0.85 < float(area.max()) <= 1.0
    edge = float(wide.amin(1).min())
    assert edge < 0.05  # any place inside


def test_every_operation_of_trivial_augment_is_drawn_and_one_is_none() -> None:
    x = torch.rand(1, 1, 3, 16, 16).expand(600, 1, 3, 16, 16)
    plain = change_pictures(x, TrainConfig(min_crop_scale=0.999999), draw())
    after = change_pictures(x, TrainConfig(min_crop_scale=0.999999, trivial_augment=True), draw())
    kept = float(((after - plain).abs().flatten(1).amax(1) < 0.02).float().mean())
    assert len(OPERATIONS) == 14
    assert 1 / 14 < kept < 0.25  # the identity, and the weakest of the others
    assert float(after.min()) >= 0
    assert float(after.max()) <= 1


@pytest.mark.parametrize("strength", [-0.99, -0.3, 0.0, 0.5, 0.99])
def test_colours_are_changed_as_torchvision_changes_them(strength: float) -> None:
    x = torch.rand(3, 3, 12, 10, generator=draw())
    x = (x * 255).round() / 255
    positive = abs(strength)
    expected = {
        "brightness": lambda one: reference.adjust_brightness(one, 1 + strength),
        "colour": lambda one: reference.adjust_saturation(one, 1 + strength),
        "contrast": lambda one: reference.adjust_contrast(one, 1 + strength),
        "sharpness": lambda one: reference.adjust_sharpness(one, 1 + strength),
        "posterize": lambda one: reference.posterize((one * 255).to(torch.uint8), 8 - round(positive * 6)) / 255,
        "solarize": lambda one: reference.solarize(one, 1 - positive),
        "autocontrast": reference.autocontrast,
        "equalize": lambda one: reference.equalize((one * 255).round().to(torch.uint8)) / 255,
    }
    assert set(expected) == set(RECOLOURINGS)
    for name, change in expected.items():
        used = positive if name in ("posterize", "solarize") else strength
        got = RECOLOURINGS[name](x.unsqueeze(1), torch.full((3,), used)).squeeze(1)
        torch.testing.assert_close(got, torch.stack([change(one) for one in x]), atol=2e-5, rtol=0, msg=name)


def test_flat_pictures_stay_finite() -> None:
    flat = torch.full((2, 2, 3, 8, 8), 0.25)
    for name, change in RECOLOURINGS.items():
        assert change(flat, torch.full((2,), 0.5)).isfinite().all(), name


@pytest.mark.parametrize("pitch", [False, True])
def test_a_tone_stays_in_its_bin_unless_pitch_may_change(pitch: bool) -> None:
    tone = torch.full((64, 20, 64), -9.0)
    tone[:, :, 30:33] = 3.0
    rows = Present(torch.arange(64), tone, torch.full((64,), 20))
    moved = _warp(rows, pitch, draw()).values[:, 0].argmax(dim=1)
    assert bool(((moved < 30) | (moved > 32)).any()) is pitch
