"""Mixup and CutMix: targets follow the values, and a row is only blended where all that it has can be."""

import pytest
import torch

from tasks.config import TrainConfig
from tasks.modeling.fusion.classifier import Present
from tasks.train.mixup import mix

SIZE = 32


def draw(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def flat(rows: torch.Tensor, *shape: int, lengths: torch.Tensor | None = None) -> Present:
    """Every value of a row is the row's number."""
    values = rows.float().view(-1, *[1] * len(shape)).expand(-1, *shape).clone()
    return Present(rows, values, torch.full((len(rows),), 4) if lengths is None else lengths)


def targets() -> torch.Tensor:
    """The row's number, and its share of the whole: a target that says who was blended."""
    return torch.stack([torch.arange(SIZE).float(), torch.ones(SIZE)], dim=1)


ALL = torch.arange(SIZE)


def test_nothing_is_drawn_or_changed_where_both_are_off() -> None:
    generator = draw()
    before = generator.get_state()
    batch = {"image": flat(ALL, 3, 8, 8)}
    mixed, soft = mix(batch, targets(), TrainConfig(), generator)
    assert mixed["image"].values is batch["image"].values
    assert torch.equal(soft, targets())
    assert torch.equal(generator.get_state(), before)


def test_targets_are_blended_as_the_values_are_in_every_modality() -> None:
    batch = {
        "image": flat(ALL, 3, 8, 8),
        "text": flat(ALL, 5),
        "audio": flat(ALL, 4, 16),
        "video": flat(ALL, 4, 3, 8, 8),
    }
    mixed, soft = mix(batch, targets(), TrainConfig(mixup=0.8), draw())
    assert (soft[:, 0] != ALL).sum() > SIZE / 2
    torch.testing.assert_close(soft[:, 1], torch.ones(SIZE))
    for name, part in mixed.items():
        expected = soft[:, 0].view(-1, *[1] * (part.values.ndim - 1)).expand_as(part.values)
        torch.testing.assert_close(part.values, expected, msg=name)
        assert part.values.shape == batch[name].values.shape


def test_cutmix_pastes_pixels_in_proportion_to_the_target_and_blends_the_rest() -> None:
    batch = {"image": flat(ALL, 3, 64, 64), "video": flat(ALL, 4, 3, 64, 64), "audio": flat(ALL, 4, 16)}
    mixed, soft = mix(batch, targets(), TrainConfig(cutmix=1.0), draw())
    x = mixed["image"].values
    torch.testing.assert_close(x.mean(dim=(1, 2, 3)), soft[:, 0], atol=0.8, rtol=0.05)  # whole pixels
    assert all(len(picture.unique()) <= 2 for picture in x)
    assert sum(len(picture.unique()) == 2 for picture in x) > SIZE / 2
    torch.testing.assert_close(mixed["video"].values, x[:, None].expand(-1, 4, -1, -1, -1))
    torch.testing.assert_close(mixed["audio"].values[:, 0, 0], soft[:, 0])


def test_the_same_draws_give_the_same_batch() -> None:
    batch = {"image": flat(ALL, 3, 8, 8)}
    config = TrainConfig(mixup=0.2, cutmix=1.0)
    one, same, other = (mix(batch, targets(), config, draw(seed))[1] for seed in (3, 3, 4))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_with_both_each_is_drawn() -> None:
    batch = {"image": flat(ALL, 3, 16, 16)}
    config, generator = TrainConfig(mixup=1.0, cutmix=1.0), draw()
    pasted = []
    for _ in range(12):
        values = mix(batch, targets(), config, generator)[0]["image"].values
        pasted.append(bool((values == values.round()).all()))
    assert 0 < sum(pasted) < 12


@pytest.mark.parametrize("config", [TrainConfig(mixup=1.0), TrainConfig(cutmix=1.0)])
def test_rows_with_tokens_stay(config: TrainConfig) -> None:
    """Half a word is no word: a row's label must not be blended where its text is not."""
    some = torch.arange(0, SIZE, 2)
    words = Present(some, torch.ones(len(some), 7, dtype=torch.long), torch.full((len(some),), 7))
    mixed, soft = mix({"image": flat(ALL, 3, 16, 16), "text": words}, targets(), config, draw())
    assert torch.equal(soft[some], targets()[some])
    assert torch.equal(mixed["image"].values[some], flat(some, 3, 16, 16).values)
    assert torch.equal(mixed["text"].values, words.values)
    others = soft[1::2, 0]
    assert (others != ALL[1::2]).sum() > SIZE / 4


def test_partners_have_the_same_modalities() -> None:
    """Sound of one row with half its label, and the other's sound left out, would teach what is not so."""
    some = torch.tensor([5, 1, 9, 3, 30, 12])  # not in order
    mixed, soft = mix(
        {"image": flat(ALL, 3, 8, 8), "audio": flat(some, 4, 16)}, targets(), TrainConfig(mixup=1.0), draw()
    )
    assert mixed["audio"].rows.tolist() == some.tolist()
    torch.testing.assert_close(mixed["audio"].values[:, 0, 0], soft[some, 0])
    torch.testing.assert_close(mixed["image"].values[:, 0, 0, 0], soft[:, 0])
    assert soft[some, 0].sum() == pytest.approx(float(some.sum()), abs=25)  # blended among themselves
    lonely = torch.tensor([4])
    _, soft = mix(
        {"image": flat(ALL, 3, 8, 8), "audio": flat(lonely, 4, 16)}, targets(), TrainConfig(mixup=1.0), draw()
    )
    assert soft[4, 0] == 4


def test_sound_is_blended_with_sound_of_its_length_only() -> None:
    lengths = torch.where(ALL < 16, 3, 4)
    lengths[31] = 2
    _, soft = mix({"audio": flat(ALL, 4, 16, lengths=lengths)}, targets(), TrainConfig(mixup=1.0), draw())
    assert soft[31, 0] == 31
    assert (soft[:16, 0] <= 15).all()
    assert (soft[16:, 0] >= 16).all()
    assert (soft[:31, 0] != ALL[:31]).sum() > SIZE / 2


def test_cutmix_leaves_rows_without_pixels() -> None:
    _, soft = mix({"audio": flat(ALL, 4, 16), "text": flat(ALL, 5)}, targets(), TrainConfig(cutmix=1.0), draw())
    assert torch.equal(soft, targets())
