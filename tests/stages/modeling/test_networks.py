import itertools
from unittest.mock import Mock

import pytest
import torch
from torch.nn import functional

from tasks.config import FusionConfig
from tasks.modeling.encoder_spec import EncoderSpec
from tasks.modeling.encoders import TinyAudio, TinyImage, TinyText, TinyVideo, build_encoder
from tasks.modeling.fusion.classifier import FusedClassifier, Present, drop_modalities

MODALITIES = ("image", "text", "audio", "video")
SMALL = FusionConfig(embed_dim=16, hidden=16)


def _batch(size=4, seed=0):
    draw = torch.Generator().manual_seed(seed)
    rows = torch.arange(size)
    return {
        "image": Present(rows, torch.rand(size, 3, 32, 32, generator=draw), torch.full((size,), 32)),
        "text": Present(
            rows, torch.randint(0, 256, (size, 11), generator=draw), torch.randint(1, 12, (size,), generator=draw)
        ),
        "audio": Present(
            rows, torch.randn(size, 20, 64, generator=draw), torch.randint(1, 21, (size,), generator=draw)
        ),
        "video": Present(
            rows, torch.rand(size, 3, 3, 16, 16, generator=draw), torch.randint(1, 4, (size,), generator=draw)
        ),
    }


def _model(modalities=MODALITIES, seed=0):
    torch.manual_seed(seed)
    return FusedClassifier(dict.fromkeys(modalities, EncoderSpec(encoder="tiny", reads="inputs")), 5, SMALL)


@pytest.mark.parametrize("side", [16, 32, 45])
def test_image_encoder_takes_any_side(side):
    assert TinyImage()(torch.rand(2, 3, side, side), torch.tensor([side, side])).shape == (2, TinyImage.width)


@pytest.mark.parametrize(("frames", "bins"), [(1, 16), (2, 64), (37, 40)])
def test_audio_encoder_takes_any_length_and_number_of_bins(frames, bins):
    x = TinyAudio()(torch.randn(2, frames, bins), torch.tensor([frames, 1]))
    assert x.shape == (2, TinyAudio.width)
    assert x.isfinite().all()


def test_silence_is_finite():
    assert TinyAudio().eval()(torch.full((1, 9, 64), -13.8), torch.tensor([9])).isfinite().all()


def test_level_does_not_change_what_is_heard():
    encoder, x = TinyAudio().eval(), torch.randn(1, 30, 64)
    lengths = torch.tensor([30])
    torch.testing.assert_close(encoder(x, lengths), encoder(x + 3.0, lengths), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("size", [1, 4])
def test_what_is_left_out_for_whole_rows_changes_no_bit(monkeypatch, size):
    """Masks of ones, and learned embeddings that no row needs; with shorter or missing rows nothing is left out."""
    model, batch = _model().eval(), _batch(size)
    whole = {name: part._replace(lengths=torch.full((size,), part.values.shape[1])) for name, part in batch.items()}
    lacking = {name: Present(*(each[1:] for each in part)) for name, part in whole.items() if size > 1}
    with torch.inference_mode():
        found = [model(each, size).logits for each in (whole, batch, lacking)]
        masked, spread = Mock(return_value=True), Mock(return_value=False)
        monkeypatch.setattr("tasks.modeling.encoders.may_be_padded", masked)
        monkeypatch.setattr("tasks.modeling.fusion.classifier._is_everywhere", spread)
        assert all(map(torch.equal, found, [model(each, size).logits for each in (whole, batch, lacking)]))
    assert masked.called
    assert spread.called


@pytest.mark.parametrize("encoder", [TinyAudio(), TinyText()])
def test_padding_changes_nothing(encoder):
    encoder.eval()
    audio = isinstance(encoder, TinyAudio)
    short = torch.randn(1, 13, 64) if audio else torch.randint(0, 256, (1, 13))
    padding = (0, 0, 0, 24) if audio else (0, 24)
    long, lengths = functional.pad(short, padding, value=7), torch.tensor([13])
    if audio:
        long[:, 13:] = 0
    torch.testing.assert_close(encoder(short, lengths), encoder(long, lengths), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("training", [False, True])
def test_frames_that_do_not_exist_change_nothing(training):
    encoder = TinyVideo().train(training)
    short, lengths = torch.rand(3, 4, 3, 16, 16), torch.tensor([4, 1, 2])
    long = functional.pad(short, (0, 0, 0, 0, 0, 0, 0, 5), value=0.7)
    long[1, 1:], long[2, 2:] = 0.3, 0.9
    torch.testing.assert_close(encoder(short, lengths), encoder(long, lengths), rtol=1e-4, atol=1e-5)


def test_the_order_of_frames_is_seen():
    encoder, clip = TinyVideo().eval(), torch.rand(1, 5, 3, 16, 16)
    lengths = torch.tensor([5])
    assert not torch.allclose(encoder(clip, lengths), encoder(clip.flip(1), lengths), atol=1e-4)


def test_an_unknown_encoder_is_an_error():
    with pytest.raises(ValueError, match="video encoder 'huge'"):
        build_encoder("video", EncoderSpec(encoder="huge", reads="inputs"))


@pytest.mark.parametrize("names", [c for n in (1, 2, 3) for c in itertools.combinations(MODALITIES, n)])
def test_any_subset_of_modalities_can_be_trained_and_given(names):
    model, batch = _model(names), {name: part for name, part in _batch().items() if name in names}
    output = model(batch, 4)
    assert output.logits.shape == (4, 5)
    assert set(output.auxiliary) == set(names)
    output.logits.sum().backward()
    model.eval()
    for name in names:
        seen = model({name: batch[name]}, 4)
        assert seen.logits.shape == (4, 5)
        assert not seen.auxiliary
    assert model({}, 4).logits.isfinite().all()


def test_a_missing_modality_is_its_learned_embedding():
    model, batch = _model().eval(), _batch()
    without = {name: part for name, part in batch.items() if name != "audio"}
    before = model(without, 4).logits
    assert not torch.equal(before, model(batch, 4).logits)
    with torch.no_grad():
        model.missing["audio"].add_(1.0)
    assert not torch.equal(before, model(without, 4).logits)


def test_a_present_modality_does_not_use_its_embedding():
    model, batch = _model().eval(), _batch()
    before = model(batch, 4).logits
    with torch.no_grad():
        model.missing["audio"].add_(1.0)
    assert torch.equal(before, model(batch, 4).logits)


def test_a_hidden_modality_is_the_same_as_one_that_is_not_there():
    model, batch = _model().eval(), _batch()
    hidden = torch.zeros(4, len(MODALITIES), dtype=torch.bool)
    hidden[1, MODALITIES.index("audio")] = True
    seen = model(batch, 4, hidden).logits
    torch.testing.assert_close(seen[0], model(batch, 4).logits[0])
    without = {name: part for name, part in batch.items() if name != "audio"}
    torch.testing.assert_close(seen[1], model(without, 4).logits[1])


def test_rows_with_missing_cells_are_predicted_from_what_they_have():
    model, batch = _model().eval(), _batch()
    part = batch["image"]
    some = Present(torch.tensor([3, 0]), part.values[[3, 0]], part.lengths[:2])
    logits = model({**batch, "image": some}, 4).logits
    full = model(batch, 4).logits
    torch.testing.assert_close(logits[[0, 3]], full[[0, 3]])
    assert not torch.allclose(logits[1], full[1])


def test_modality_dropout_leaves_one_and_invents_none():
    present = torch.rand(2000, 3, generator=torch.Generator().manual_seed(0)) < 0.6
    hidden = drop_modalities(present, 0.5, torch.Generator().manual_seed(1))
    kept = present & ~hidden
    assert not (hidden & ~present).any()
    assert kept[present.any(dim=1)].any(dim=1).all()
    assert hidden.any()
    assert not drop_modalities(present, 0.0, torch.Generator()).any()
    single = drop_modalities(present, 1.0, torch.Generator())
    assert ((present & ~single).sum(dim=1) == present.any(dim=1).long()).all()


def test_one_batch_is_learned_by_heart():
    model, batch, targets = _model(), _batch(), torch.tensor([0, 1, 2, 3])
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(40):
        optimizer.zero_grad()
        functional.cross_entropy(model(batch, 4).logits, targets).backward()
        optimizer.step()
    model.train()
    assert functional.cross_entropy(model(batch, 4).logits, targets) < 0.3
