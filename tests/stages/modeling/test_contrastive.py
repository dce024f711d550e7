import math

import pytest
import torch

from tasks.modeling.contrastive import TEMPERATURE, contrastive_loss


def _pair(n=4, width=8, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return {name: torch.randn(n, width, generator=draw) for name in ("image", "audio")}


def _rows(*rows):
    return {name: torch.tensor(list(own)) for name, own in zip(("image", "audio"), rows, strict=True)}


def test_it_is_info_nce_without_labels():
    vectors = _pair()
    one, other = (torch.nn.functional.normalize(v, dim=1) for v in vectors.values())
    scores = one @ other.T / TEMPERATURE
    expected = sum(torch.nn.functional.cross_entropy(s, torch.arange(4)) for s in (scores, scores.T)) / 2
    torch.testing.assert_close(contrastive_loss(vectors, _rows(range(4), range(4))), expected)


def test_aligned_pairs_cost_nothing_and_swapped_ones_much():
    eye = torch.eye(4)
    assert contrastive_loss({"image": eye, "audio": 3 * eye}, _rows(range(4), range(4))) < 1e-3
    assert contrastive_loss({"image": eye, "audio": eye.roll(1, 0)}, _rows(range(4), range(4))) > 9


def test_rows_are_matched_by_their_position_in_the_batch():
    vectors = _pair()
    shuffled = {"image": vectors["image"], "audio": vectors["audio"][[2, 0, 3, 1]]}
    torch.testing.assert_close(
        contrastive_loss(shuffled, _rows(range(4), (2, 0, 3, 1))), contrastive_loss(vectors, _rows(range(4), range(4)))
    )


def test_samples_of_one_label_are_not_driven_apart():
    """Two samples of label 0 with the same vectors: negatives of each other without labels, none with them."""
    corners = torch.eye(4)[[0, 0, 1, 2]]
    vectors, rows = {"image": corners, "audio": corners}, _rows(range(4), range(4))
    labels = torch.tensor([0, 0, 1, 2])
    moved = corners.clone().requires_grad_()
    contrastive_loss({"image": moved, "audio": corners}, rows, labels).backward()
    assert moved.grad.abs().max() < 1e-3
    # The floor of the loss: log 2 for the two anchors with two positives each.
    torch.testing.assert_close(
        contrastive_loss(vectors, rows, labels), torch.tensor(math.log(2) / 2), rtol=0, atol=1e-3
    )
    apart = torch.eye(4)  # here the two of label 0 lie apart, and are drawn together
    assert contrastive_loss({"image": apart, "audio": apart}, rows, labels) > 2
    assert contrastive_loss({"image": apart, "audio": apart}, rows) < 1e-3


def test_labels_are_read_at_the_batch_s_positions():
    vectors, labels = _pair(3), torch.tensor([7, 0, 1, 7, 1])
    some = contrastive_loss(vectors, _rows((0, 2, 4), (1, 3, 4)), labels)
    plain = contrastive_loss(vectors, _rows(range(3), range(3)))
    assert some.isfinite()
    assert not torch.allclose(some, plain)
    # Image rows have labels 7, 1, 1; sounds 0, 7, 1: the sound of label 0 is no anchor, only a negative.
    one, other = (torch.nn.functional.normalize(v, dim=1) for v in vectors.values())
    scores = one @ other.T / TEMPERATURE
    across = -scores.log_softmax(1)
    back = -scores.T.log_softmax(1)
    expected = (across[0, 1] + across[1, 2] + across[2, 2]) / 3 / 2
    expected = expected + (back[1, 0] + (back[2, 1] + back[2, 2]) / 2) / 2 / 2
    torch.testing.assert_close(some, expected)


@pytest.mark.parametrize(
    ("vectors", "rows"),
    [
        ({}, {}),
        ({"image": torch.randn(3, 8)}, {"image": torch.arange(3)}),
        ({"image": torch.randn(0, 8), "audio": torch.randn(2, 8)}, _rows((), (0, 1))),
        ({"image": torch.randn(2, 8), "audio": torch.randn(2, 8)}, _rows((0, 1), (2, 3))),
        ({"image": torch.randn(1, 8), "audio": torch.randn(1, 8)}, _rows((3,), (3,))),
    ],
)
def test_without_pairs_the_loss_is_zero(vectors, rows):
    vectors = {name: own.clone().requires_grad_() for name, own in vectors.items()}
    rows = {name: own.long() for name, own in rows.items()}
    loss = contrastive_loss(vectors, rows)
    assert loss.shape == ()
    assert loss == 0
    if len(vectors) == 2:
        loss.backward()
        assert all(own.grad.isfinite().all() for own in vectors.values())


def test_three_modalities_count_pair_by_pair():
    vectors = _pair() | {"text": torch.randn(4, 8)}
    rows = {name: torch.arange(4) for name in vectors}
    pairs = (("image", "audio"), ("image", "text"), ("audio", "text"))
    expected = sum(contrastive_loss({n: vectors[n] for n in pair}, {n: rows[n] for n in pair}) for pair in pairs) / 3
    torch.testing.assert_close(contrastive_loss(vectors, rows), expected)


def test_descending_brings_the_modalities_together():
    torch.manual_seed(0)
    free = {name: torch.nn.Parameter(torch.randn(6, 8)) for name in ("image", "audio")}
    rows, labels = _rows(range(6), range(6)), torch.tensor([0, 0, 1, 1, 2, 2])
    optimizer = torch.optim.Adam(free.values(), lr=0.05)
    for _ in range(150):
        optimizer.zero_grad()
        contrastive_loss(free, rows, labels).backward()
        optimizer.step()
    one, other = (torch.nn.functional.normalize(v, dim=1) for v in free.values())
    assert (labels[(one @ other.T).argmax(1)] == labels).all()
    assert contrastive_loss(free, rows, labels) < math.log(2) + 0.05


def test_zero_vectors_are_finite():
    vectors = {name: torch.zeros(3, 8, requires_grad=True) for name in ("image", "audio")}
    loss = contrastive_loss(vectors, _rows(range(3), range(3)))
    loss.backward()
    assert loss.isfinite()
    assert all(own.grad.isfinite().all() for own in vectors.values())
