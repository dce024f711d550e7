import pytest
import torch

from tasks.train.throughput import ThroughputMeter, count_flops, peak_flops


def test_figures_are_made_of_sums():
    sums = {}
    meter = ThroughputMeter(sums, torch.device("cpu"), 2)
    meter.add(samples=100, train_s=4.0, wait_s=1.0)
    meter.add(samples=100, train_s=4.0, flops=2000.0)
    meter.note_memory()
    figures = meter.figures()
    assert figures.samples_per_s == 25.0
    assert figures.data_wait_share == 0.125
    assert figures.flops_per_sample == 10.0
    assert figures.gpu_s == 0.0
    assert figures.mfu is None  # what a CPU could do at most is not known
    assert figures.peak_memory_mb > 50
    assert ThroughputMeter(sums, torch.device("cpu"), 2).figures() == figures  # all of it is in the state


def test_nothing_done_is_no_division():
    assert ThroughputMeter({}, torch.device("cpu"), 1).figures().samples_per_s is None


def test_flops_of_a_product_and_what_it_returned():
    a, b = torch.rand(3, 4), torch.rand(4, 5)
    flops, product = count_flops(lambda: a @ b)
    assert flops == 2 * 3 * 4 * 5
    assert torch.equal(product, a @ b)


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA L40S", 362e12),
        ("NVIDIA L4", 121e12),
        ("x", None),
    ],
)
def test_the_peak_of_a_card(name, peak):
    assert peak_flops(name) == peak
