"""Networks that only answer take shorter ways than those that learn: to the same values."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from tasks.modeling.encoder_base import Encoder
from tasks.modeling.encoders import TinyAudio, TinyImage, TinyVideo
from tasks.modeling.pretrained.fuse_conv_bn import fold_norms

CASES: list[tuple[Callable[[], Encoder], tuple[int, ...], list[int]]] = [
    (TinyImage, (2, 3, 33, 33), [1, 1]),
    (TinyImage, (1, 3, 32, 32), [1]),
    (TinyAudio, (3, 99, 63), [99, 50, 1]),
    (TinyAudio, (1, 98, 64), [98]),
    (TinyVideo, (2, 3, 3, 17, 17), [3, 2]),
]


@pytest.mark.parametrize(("make", "shape", "lengths"), CASES)
def test_without_gradients_and_with_folded_norms_the_answer_is_the_same(
    make: Callable[[], Encoder], shape: tuple[int, ...], lengths: list[int]
) -> None:
    torch.manual_seed(0)
    encoder = make().eval()
    for norm in (module for module in encoder.modules() if isinstance(module, nn.BatchNorm2d)):
        for values, low, high in (
            (norm.running_mean, -1.0, 1.0),
            (norm.running_var, 0.5, 2.0),
            (norm.weight, -2.0, 2.0),
            (norm.bias, -1.0, 1.0),
        ):
            assert isinstance(values, Tensor)
            nn.init.uniform_(values, low, high)
    batch = torch.rand(shape), torch.tensor(lengths)
    untouched = batch[0].clone()
    learned = encoder(*batch).detach()
    with torch.inference_mode():
        assert torch.equal(encoder(*batch), learned)
        fold_norms(encoder)
        assert not [module for module in encoder.modules() if isinstance(module, nn.BatchNorm2d)]
        folded = encoder(*batch)
    assert torch.equal(batch[0], untouched)
    torch.testing.assert_close(folded, learned, rtol=1e-4, atol=1e-4)
