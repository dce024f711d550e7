"""The scale of numbers and the vocabulary of categories, fitted to rows; and the network that uses them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tasks.modality_specs.tabular.cells import encode_row
from tasks.modality_specs.tabular.fitting import CATEGORIES, FittedColumn, FittedTable, fit_table
from tasks.modality_specs.tabular.network import TinyTabular, hide_cells

TYPES = {"age": "numeric", "breed": "categorical"}


def table_of(rows: list[dict[str, str]]) -> FittedTable:
    return fit_table(rows, TYPES)  # type: ignore[arg-type]


def test_numbers_are_scaled_by_their_quartiles_and_an_outlier_moves_them_little() -> None:
    ages = [str(number) for number in range(101)]
    age = table_of([{"age": age} for age in ages]).columns[0]
    assert (age.name, age.center, age.missing_rows, age.rows) == ("age", 50, 0, 101)
    assert age.scale == pytest.approx(50 / 1.349)
    far = table_of([{"age": age} for age in [*ages[:-1], "1e30"]]).columns[0]
    assert (far.center, far.scale) == (age.center, age.scale)


@pytest.mark.parametrize(
    ("ages", "center", "scale"),
    [([], 0, 1), (["5", "5"], 5, 1), (["5"] * 9 + ["15"], 5, 3), (["NA", "inf"], 0, 1)],
)
def test_a_scale_is_never_zero(ages: list[str], center: float, scale: float) -> None:
    age = table_of([{"age": age, "breed": "x"} for age in ages]).columns[0]
    assert (age.center, age.scale) == pytest.approx((center, scale))


def test_missing_cells_and_what_is_no_number_are_counted() -> None:
    age = table_of([{"age": "1"}, {"breed": "a"}, {"age": "NA"}, {"age": "2"}]).columns[0]
    assert (age.missing_rows, age.rows) == (2, 4)


def test_categories_are_the_frequent_ones_that_occur_twice_in_a_fixed_order() -> None:
    rows = [{"breed": text} for text in ("b", "a", "c", "b", "a", "b", "once")]
    breed = table_of(rows).columns[1]
    assert breed.categories == ("b", "a")
    assert breed.other_rows == 2
    assert table_of(rows[::-1]).columns[1] == breed


def test_of_ten_thousand_categories_the_most_frequent_are_kept() -> None:
    rows = [{"breed": f"breed {number}"} for number in range(10_000) for _ in range(3 if number < 7 else 2)]
    breed = table_of(rows).columns[1]
    assert len(breed.categories) == CATEGORIES
    assert set(breed.categories[:7]) == {f"breed {number}" for number in range(7)}
    assert breed.other_rows == len(rows) - 7 * 3 - (CATEGORIES - 7) * 2


def vectors(network: TinyTabular, *rows: dict[str, str]) -> torch.Tensor:
    arrays = [encode_row(row) for row in rows]
    padded = np.zeros((len(arrays), max(map(len, arrays)) + 1, 4), np.int32)
    for place, array in enumerate(arrays):
        padded[place, : len(array)] = array
    with torch.inference_mode():
        found: torch.Tensor = network(torch.from_numpy(padded).long(), torch.tensor([len(array) for array in arrays]))
    return found


@pytest.fixture
def network() -> TinyTabular:
    torch.manual_seed(0)
    rows = [{"age": str(number), "breed": "ab"[number % 2]} for number in range(20)]
    return TinyTabular(table_of(rows)).eval()


def test_the_network_reads_numbers_and_categories_of_its_columns_and_nothing_else(network: TinyTabular) -> None:
    base = {"age": "3", "breed": "a"}
    same = vectors(network, base, {**base, "weight": "9"}, {"breed": "a", "age": "3"}, base | {"age": "3,0"})
    assert same.shape == (4, 128)
    assert torch.allclose(same[:1].expand(4, -1), same)
    others = vectors(network, base, base | {"age": "4"}, base | {"breed": "b"}, {"breed": "a"}, {"age": "3"})
    assert len({tuple(row.tolist()) for row in others}) == 5


def test_unknown_categories_are_one_and_a_cell_that_is_no_number_is_missing(network: TinyTabular) -> None:
    known, new, newer, missing = vectors(
        network, {"age": "3", "breed": "a"}, {"age": "3", "breed": "zebra"}, {"age": "3", "breed": "yak"}, {"age": "3"}
    )
    assert torch.equal(new, newer)
    assert not torch.allclose(new, known)
    assert not torch.allclose(new, missing)
    no_number, empty = vectors(network, {"age": "NA", "breed": "a"}, {"breed": "a"})
    assert torch.equal(no_number, empty)


def test_a_far_number_is_finite_and_bent(network: TinyTabular) -> None:
    far = vectors(network, {"age": "1e30"}, {"age": "-1e30"}, {"age": "3e37"})
    assert torch.isfinite(far).all()
    assert torch.allclose(far[0], far[2], atol=1e-4)


def test_the_weights_alone_hold_what_was_fitted(network: TinyTabular) -> None:
    held = network.state_dict()
    assert held["center"][network.is_number].item() == 9.5
    assert len(held["category_keys"]) == 2
    with pytest.raises(ValueError, match="no column is described"):
        TinyTabular(FittedTable(columns=()))
    empty = TinyTabular(FittedTable(columns=(FittedColumn(name="breed", type="categorical"),))).eval()
    assert torch.isfinite(vectors(empty, {"breed": "a"})).all()


def test_training_hides_some_cells_and_makes_some_categories_unknown() -> None:
    values = torch.from_numpy(np.stack([encode_row({"age": "3", "breed": "a"})] * 4000)).long()
    changed = hide_cells(values, torch.Generator().manual_seed(0))
    hidden, unknown = changed[..., 0] == 0, (changed[..., 2:] == 0).all(dim=2)
    assert hidden.float().mean().item() == pytest.approx(0.05, abs=0.01)
    assert unknown.float().mean().item() == pytest.approx(0.05, abs=0.01)
    assert not (hidden & unknown).any()
    assert torch.equal(changed[~hidden & ~unknown], values[~hidden & ~unknown])
    assert torch.equal(changed, hide_cells(values, torch.Generator().manual_seed(0)))
