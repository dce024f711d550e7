"""A frozen encoder that onnxruntime runs: the same inputs and vectors as the network that it was exported from."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from data_contracts.refs import Modality
from tasks.encoder_ids import Layers
from tasks.errors import EnvironmentFailed
from tasks.modeling.pretrained.adapter import Pretrained
from tasks.modeling.pretrained.locate import Place
from tasks.modeling.pretrained.packaged import ONNX
from tasks.packages import missing_packages_named

INPUTS, OUTPUT = ("values", "lengths"), "vectors"


class OnnxEncoder(Pretrained):
    """Runs on a CPU, on one thread, as frozen encoders do here: other batches take the other cores."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self._session: Any = None

    def load(self, place: Place) -> None:
        """Reads the graph from the very bytes that were looked at; one that refers to further files is refused.

        EnvironmentFailed where onnxruntime is not installed (the extra `compress`), or cannot run it.
        """
        path = place.root / ONNX
        with missing_packages_named():
            import onnxruntime
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # noqa: BLE001 (onnxruntime's have no common base)
            message = " ".join(str(error).split())[:200]
            raise EnvironmentFailed(
                f"encoder {path}: onnxruntime {onnxruntime.__version__} cannot run it ({message}); restore it"
            ) from None
        self._inputs = {each.name for each in self._session.get_inputs()}

    def read_layers(self, modality: Modality, layers: Layers) -> None:
        """Changes nothing: the graph gives out the layers that were read when it was exported."""

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """As the adapter that it was exported from: (B, ...), (B,) -> (B, width)."""
        given = dict(zip(INPUTS, (x.cpu().numpy(), lengths.cpu().numpy()), strict=True))
        used = {name: values for name, values in given.items() if name in self._inputs}
        return torch.from_numpy(self._session.run([OUTPUT], used)[0])
