"""Classical features against cases by hand, scipy and scikit-learn; padding and hidden bytes change nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.fft import idct

from tasks.modeling.classical import (
    BINS,
    CELL_PX,
    CEPSTRA,
    HASHED,
    SIDE_PX,
    ClassicalAudio,
    ClassicalImage,
    ClassicalText,
    ClassicalVideo,
    colours,
    hog,
    summarise_cepstra,
)
from tasks.modeling.encoder_base import Encoder, Standardised

CELLS = SIDE_PX // CELL_PX


def hog_of(picture: np.ndarray) -> np.ndarray:
    """uint8 (S, S, 3) -> (D,)"""
    return hog(torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255)[0].numpy()


def cepstra_of(spectrum: np.ndarray) -> np.ndarray:
    """(T, M) -> (D,)"""
    return summarise_cepstra(torch.from_numpy(spectrum).float()[None], torch.tensor([len(spectrum)]))[0].numpy()


def text_of(*texts: str, padding: int = 0) -> np.ndarray:
    """(B, 2 x HASHED)"""
    coded = [text.encode() for text in texts]
    longest = max(map(len, coded)) + padding
    values = torch.zeros(len(coded), longest, dtype=torch.long)
    for row, each in enumerate(coded):
        values[row, : len(each)] = torch.tensor(list(each))
    return ClassicalText()(values, torch.tensor([len(each) for each in coded])).numpy()


def blocks_of(picture: np.ndarray) -> np.ndarray:
    """(rows of blocks, columns, cells of a block, orientations)"""
    return hog_of(picture).reshape(CELLS - 1, CELLS - 1, 4, BINS)


def test_hog_of_a_vertical_edge_by_hand() -> None:
    """A step from 0 to 200 after column 23: columns 23 and 24 have a gradient of 200 to the right, orientation 0. Both are in
    other cells (2 and 3), so each block with both has four equal cells with all of their weight in bin 0; scaled to length 1
    each is 1/2, cut off at 0.2, scaled again 1/2."""
    picture = np.zeros((SIDE_PX, SIDE_PX, 3), np.uint8)
    picture[:, 24:] = 200
    found = blocks_of(picture)
    assert found[:, 2, :, 0] == pytest.approx(0.5, abs=1e-4)
    assert found[:, 2, :, 1:].max() == 0
    assert found[:, 1, [1, 3], 0] == pytest.approx(0.5**0.5, abs=1e-4)  # only its right half has the edge
    assert found[:, 1, [0, 2]].max() == 0
    assert found[:, [0, 4]].max() == 0


def test_a_gradient_between_two_orientations_votes_for_both() -> None:
    """Downwards is 90 degrees, half way between the bins at 80 and 100."""
    picture = np.zeros((SIDE_PX, SIDE_PX, 3), np.uint8)
    picture[24:] = 200
    block = blocks_of(picture)[2, 0, 0]
    assert block[4] == pytest.approx(block[5])
    assert block[[0, 1, 2, 3, 6, 7, 8]].max() == 0


def test_hog_does_not_see_how_bright_a_picture_is() -> None:
    picture = np.random.default_rng(0).integers(0, 100, (SIDE_PX, SIDE_PX, 3), dtype=np.uint8)
    assert hog_of(picture + 50) == pytest.approx(hog_of(picture), abs=1e-4)
    assert hog_of(np.full((SIDE_PX, SIDE_PX, 3), 9, np.uint8)).tolist() == [0.0] * 900


def test_mfcc_are_the_cosines_that_a_spectrum_is_made_of() -> None:
    cepstra = np.zeros((6, 64))
    cepstra[:, 3] = [1, 3, 1, 3, 1, 3]
    found = cepstra_of(idct(cepstra, type=2, norm="ortho", axis=1)).reshape(4, CEPSTRA)
    assert found[:, 3] == pytest.approx([2.0, 1.0, 0.4, np.std([2, -2, 2, -2, 2])], abs=1e-5)
    assert np.delete(found, 3, axis=1) == pytest.approx(0, abs=1e-5)
    assert np.isfinite(cepstra_of(np.zeros((1, 64)))).all()


def test_a_picture_of_one_colour_has_that_colour_only() -> None:
    black, white = colours(torch.zeros(1, 3, 8, 8)), colours(torch.ones(1, 3, 8, 8))
    assert black.square().sum() == pytest.approx(4, abs=1e-3)  # each of four parts has shares that sum to 1
    assert (black * white).sum() == pytest.approx(0, abs=0.05)


def test_words_count_in_any_case_and_order_matters_to_pairs_of_them() -> None:
    one, same, swapped, other = text_of("The cat, sat!", "the CAT sat", "sat the cat", "der Hund lief")[:, :HASHED]
    assert one == pytest.approx(same)
    assert 0.5 < one @ swapped < 1 - 1e-6
    assert one @ other == pytest.approx(0)
    assert (one > 0).sum() == 5  # three words and two pairs


def test_misspelt_words_are_alike_by_their_characters() -> None:
    right, wrong, other = text_of("seven", "sevenn", "three")[:, HASHED:]
    assert right @ wrong > 0.8
    assert right @ other < 0.4


def test_how_often_a_word_comes_counts_by_its_logarithm() -> None:
    (found,) = text_of("a b b b")[:, :HASHED]
    once, thrice = np.sort(found[found > 0])[[0, -1]]
    assert thrice / once == pytest.approx(1 + np.log(3))  # b; every other word and pair comes once, or b b twice


@pytest.mark.parametrize("text", ["!", "a", "é", "日本", "  "])
def test_every_text_has_finite_features_that_are_not_all_zero(text: str) -> None:
    (found,) = text_of(text)
    assert np.isfinite(found).all()
    assert found.any()


def test_padding_changes_no_row() -> None:
    assert text_of("one two", padding=9) == pytest.approx(text_of("one two"))
    sound = torch.randn(1, 7, 64)
    padded = torch.cat([sound, torch.full((1, 5, 64), 9.0)], dim=1)
    lengths = torch.tensor([7])
    assert ClassicalAudio()(padded, lengths).numpy() == pytest.approx(
        ClassicalAudio()(sound, lengths).numpy(), abs=1e-5
    )
    clip = torch.rand(1, 3, 3, 32, 32)
    longer = torch.cat([clip, torch.rand(1, 2, 3, 32, 32)], dim=1)
    own, same = (ClassicalVideo()(each, torch.tensor([3])).numpy() for each in (clip, longer))
    assert same == pytest.approx(own, abs=1e-5)


def test_hidden_bytes_belong_to_no_word() -> None:
    values = torch.tensor([list(b"cat sat")])
    hidden = values.clone()
    hidden[0, :3] = ClassicalText.unknown
    (found,) = ClassicalText()(hidden, torch.tensor([7])).numpy()[:, :HASHED]
    assert found == pytest.approx(text_of("sat")[0, :HASHED])


@pytest.mark.parametrize(
    ("network", "values"),
    [(ClassicalImage(), torch.rand(2, 3, 32, 32)), (ClassicalImage(), torch.full((2, 3, 48, 48), 0.3)),
     (ClassicalAudio(), torch.randn(2, 9, 64)), (ClassicalAudio(), torch.zeros(2, 1, 64)),
     (ClassicalVideo(), torch.rand(2, 2, 3, 16, 16))],
)  # fmt: skip
def test_features_have_their_width_and_a_finite_gradient(network: Encoder, values: torch.Tensor) -> None:
    values.requires_grad_()
    found = network(values, torch.full((2,), values.shape[1]))
    assert found.shape == (2, network.width)
    found.sum().backward()
    assert values.grad is not None
    assert torch.isfinite(values.grad).all()
    assert values.grad.abs().max() < 1e5


def test_scaling_is_that_of_the_rows_that_it_was_fitted_to() -> None:
    rows = torch.tensor([[1.0, 5.0, 7.0], [3.0, 9.0, 7.0]])
    whole, half = Standardised(3, 1.0), Standardised(3, 0.5)
    whole.fit(rows)
    half.fit(rows)
    assert whole(rows, rows[:, 0]).tolist() == [[-1, -1, 0], [1, 1, 0]]
    assert half(rows, rows[:, 0])[1].tolist() == pytest.approx([1, 2**0.5, 0])
