"""HOG and MFCC against cases by hand and scipy, classical models and the GRU on rows that can be learnt."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.fft import idct

from tasks.compare.classical import SMOOTHING_GRID, SVM_GRID, Rows, fit_naive_bayes, fit_svm
from tasks.compare.raw_inputs import BINS, CELL_PX, CEPSTRA, SIDE_PX, hog, summarise_cepstra
from tasks.compare.recurrent import RawRows, fit_gru
from tasks.config import load_config
from tasks.errors import DataError

CELLS = SIDE_PX // CELL_PX


def blocks_of(picture: np.ndarray) -> np.ndarray:
    """(rows of blocks, columns, cells of a block, orientations)"""
    return hog(picture).reshape(CELLS - 1, CELLS - 1, 4, BINS)


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
    assert hog(picture + 50) == pytest.approx(hog(picture), abs=1e-5)
    assert hog(np.full((SIDE_PX, SIDE_PX, 3), 9, np.uint8)).tolist() == [0.0] * 900


def test_mfcc_are_the_cosines_that_a_spectrum_is_made_of() -> None:
    cepstra = np.zeros((6, 64))
    cepstra[:, 3] = [1, 3, 1, 3, 1, 3]
    found = summarise_cepstra(idct(cepstra, type=2, norm="ortho", axis=1)).reshape(4, CEPSTRA)
    assert found[:, 3] == pytest.approx([2.0, 1.0, 0.4, np.std([2, -2, 2, -2, 2])], abs=1e-5)
    assert np.delete(found, 3, axis=1) == pytest.approx(0, abs=1e-5)
    assert np.isfinite(summarise_cepstra(np.zeros((1, 64)))).all()


def tables(seed: int = 0, classes: int = 3) -> dict[str, Rows]:
    rng = np.random.default_rng(seed)
    found = {}
    for split, size in (("train", 90), ("val", 30), ("test", 30)):
        truth = np.arange(size) % classes
        found[split] = Rows(np.eye(5)[truth] + rng.normal(0, 0.3, (size, 5)), truth, np.ones(size))
    return found


@pytest.mark.parametrize("classes", [2, 3])
def test_an_svm_learns_and_its_outputs_are_shares_over_all_labels(classes: int) -> None:
    rows = tables(classes=classes)
    found = fit_svm(rows, classes + 1)  # the last label has no row
    assert found.outputs.shape == (30, classes + 1)
    assert found.outputs.sum(axis=1) == pytest.approx(1)
    assert found.outputs[:, -1].max() == 0
    assert (found.outputs.argmax(axis=1) == rows["test"].truth).mean() > 0.9
    assert found.chosen["C"] in SVM_GRID


def test_naive_bayes_counts_words_of_one_letter_and_takes_its_smoothing_from_the_validation_rows() -> None:
    words = {split: ["a b", "c d", "a", "d"] * 3 for split in ("train", "val", "test")}
    truth = {split: np.array([0, 1, 0, 1] * 3) for split in words}
    found = fit_naive_bayes(words, truth, np.ones(12), 2)
    assert found.outputs.argmax(axis=1).tolist() == truth["test"].tolist()
    assert found.chosen["alpha"] in SMOOTHING_GRID
    with pytest.raises(DataError, match="hold no word"):
        fit_naive_bayes({**words, "train": ["", "!"] * 6}, truth, np.ones(12), 2)


def test_what_is_chosen_does_not_depend_on_test_rows() -> None:
    rows = tables()
    other = {**rows, "test": Rows(rows["test"].features[::-1], rows["test"].truth, rows["test"].weights)}
    assert fit_svm(rows, 3).chosen == fit_svm(other, 3).chosen
    assert fit_svm(other, 3).outputs == pytest.approx(fit_svm(rows, 3).outputs[::-1])


@pytest.mark.parametrize("modality", ["text", "audio"])
def test_a_gru_learns_sequences_the_same_from_the_same_seed_and_rows_may_lack_them(modality: str) -> None:
    rng = np.random.default_rng(0)

    def rows(count: int) -> RawRows:
        truth = np.arange(count) % 2
        sequences: list[np.ndarray | None] = [
            (
                rng.integers(0, 40, 5 + row % 4) + 100 * label
                if modality == "text"
                else rng.normal(size=(6 + row % 4, 16)) + label * np.sin(np.arange(16)) * 3
            ).astype(np.uint8 if modality == "text" else np.float32)
            for row, label in enumerate(truth)
        ]
        return RawRows(sequences, truth, np.ones(count))

    train, val, test = rows(120), rows(40), rows(40)
    train.sequences[0] = None  # type: ignore[index]
    config = load_config({}, ["train.epochs=8", "train.threads=1", "train.batch_size=16"])
    found, again = (fit_gru(train, val, test.sequences, modality, 2, config) for _ in range(2))  # type: ignore[arg-type]
    assert found.outputs.tobytes() == again.outputs.tobytes()
    assert (found.outputs.argmax(axis=1) == test.truth).mean() > 0.9
    empty = fit_gru(train, val, [None, test.sequences[0]], modality, 2, config)  # type: ignore[arg-type]
    assert np.isfinite(empty.outputs).all()
    other = config.model_copy(update={"seed": 1})
    assert fit_gru(train, val, test.sequences, modality, 2, other).outputs.tobytes() != found.outputs.tobytes()  # type: ignore[arg-type]
    with pytest.raises(DataError, match="no train row has"):
        fit_gru(RawRows([None], np.zeros(1, np.int64), np.ones(1)), val, [], modality, 2, config)  # type: ignore[arg-type]
