"""Classical models and the GRU on rows that can be learnt."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.compare.classical import SMOOTHING_GRID, SVM_GRID, Rows, fit_naive_bayes, fit_svm
from tasks.compare.recurrent import RawRows, fit_gru
from tasks.config import load_config
from tasks.errors import DataError
from tests.support.data import TINY


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
    config = load_config({}, [*TINY, "train.epochs=8", "train.threads=1", "train.batch_size=16"])
    found, again = (fit_gru(train, val, test.sequences, modality, 2, config) for _ in range(2))  # type: ignore[arg-type]
    assert found.outputs.tobytes() == again.outputs.tobytes()
    assert (found.outputs.argmax(axis=1) == test.truth).mean() > 0.9
    empty = fit_gru(train, val, [None, test.sequences[0]], modality, 2, config)  # type: ignore[arg-type]
    assert np.isfinite(empty.outputs).all()
    other = config.model_copy(update={"seed": 1})
    assert fit_gru(train, val, test.sequences, modality, 2, other).outputs.tobytes() != found.outputs.tobytes()  # type: ignore[arg-type]
    with pytest.raises(DataError, match="no train row has"):
        fit_gru(RawRows([None], np.zeros(1, np.int64), np.ones(1)), val, [], modality, 2, config)  # type: ignore[arg-type]
