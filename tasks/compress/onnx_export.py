"""A frozen encoder as a graph of ONNX, in float32 or in 8 bits. Test rows take no part in it."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch

from tasks.compress.examples import Example
from tasks.errors import DataError
from tasks.modeling.pretrained.adapter import Pretrained
from tasks.modeling.pretrained.onnx_encoder import INPUTS, OUTPUT
from tasks.store import Store

OPSET = 18
_OF_TRANSFORMERS = "Softmax"
_MATRICES = ("MatMul", "Gemm", "Gather")


def export_encoder(
    encoder: Pretrained, examples: Sequence[Example], form: Literal["float", "int8"], path: Path, store: Store
) -> None:
    """`path` holds the graph; any number of rows, and where they vary any length, can be asked of it.

    In 8 bits: networks of convolutions with one range for each activation, found on the examples; those with attention, whose
    activations have outliers that one range for all would not hold, with a range found anew for each batch. DataError where the
    network cannot be exported.
    """
    with store.scratch_dir() as scratch, _quiet():
        plain = path if form == "float" else scratch / "plain.onnx"
        _export(encoder, examples, plain)
        if form == "int8":
            prepared = scratch / "prepared.onnx"
            _prepare(plain, prepared)
            _quantize(prepared, examples, path)


def _export(encoder: Pretrained, examples: Sequence[Example], path: Path) -> None:
    first = examples[0]
    rows = torch.export.Dim.AUTO
    varies = any(example.values.shape[1] != first.values.shape[1] for example in examples) or first.values.ndim < 4
    shapes: Any = ({0: rows, 1: rows} if varies else {0: rows}, {0: rows})
    try:
        torch.onnx.export(
            encoder,
            (first.values[:2], first.lengths[:2]),
            str(path),
            dynamo=True,
            dynamic_shapes=shapes,
            input_names=list(INPUTS),
            output_names=[OUTPUT],
            opset_version=OPSET,
            external_data=False,
            verbose=False,
        )
    except Exception as error:  # noqa: BLE001 (whatever a network's own code meets when it is traced)
        message = " ".join(str(error).split())[:200]
        raise DataError(f"its network cannot be exported to ONNX ({type(error).__name__}: {message})") from None


def _prepare(plain: Path, prepared: Path) -> None:
    """Shapes inferred and constants folded, as the quantization asks for."""
    from onnxruntime.quantization.shape_inference import quant_pre_process

    quant_pre_process(str(plain), str(prepared), skip_symbolic_shape=True)


def _quantize(plain: Path, examples: Sequence[Example], path: Path) -> None:
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_dynamic, quantize_static

    kinds = {node.op_type for node in onnx.load(str(plain)).graph.node}
    if _OF_TRANSFORMERS in kinds:
        quantize_dynamic(
            str(plain),
            str(path),
            op_types_to_quantize=list(_MATRICES),
            per_channel=True,
            weight_type=QuantType.QInt8,
        )
    else:
        quantize_static(
            str(plain),
            str(path),
            _Reader(plain, examples),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )


class _Reader:
    """Gives onnxruntime's calibration one batch after another."""

    def __init__(self, plain: Path, examples: Sequence[Example]) -> None:
        import onnx

        used = {each.name for each in onnx.load(str(plain)).graph.input}
        given = [dict(zip(INPUTS, (each.values.numpy(), each.lengths.numpy()), strict=True)) for each in examples]
        self._batches = iter([{name: values for name, values in batch.items() if name in used} for batch in given])

    def get_next(self) -> dict[str, Any] | None:
        """None after the last one."""
        return next(self._batches, None)

    def __iter__(self) -> _Reader:
        return self

    def __next__(self) -> dict[str, Any]:
        return next(self._batches)


@contextlib.contextmanager
def _quiet() -> Any:
    """Without what exporters and quantizers print and warn of, which is about their own ways."""
    logging_before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging_before)
