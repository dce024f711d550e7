"""The model as MLflow serves it, asked with media: paths, bytes and base64 become what the network reads, by the code that
decodes and embeds everywhere else. What tasks/publish/serving.py takes is taken as well.
"""

from __future__ import annotations

import base64
import binascii
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from data_contracts.refs import InputName
from flows.request import Request, resolve_config
from flows.serving.loading import find_published, load_predictor
from flows.serving.prediction import Refusal, RowsRefused
from flows.serving.predictor import Predictor
from tasks.media.in_memory import BAD_VALUE
from tasks.modalities import spec_of
from tasks.publish.logged_model import reads_strings
from tasks.publish.serving import ServedModel
from tasks.store import Store

if TYPE_CHECKING:
    import pandas as pd

_SERVING = "__pyfunc_model_path__"
"""MLflow sets this variable in the processes of `mlflow models serve`, where a string comes from someone else."""


class MediaModel(ServedModel):
    """Probabilities from media or from features."""

    def load_context(self, context: Any) -> None:
        """Loads the model; what reads media waits for the first that comes."""
        super().load_context(context)
        self._folder = Path(context.artifacts["model.safetensors"]).parent
        self._loading = threading.Lock()
        self._loaded: Predictor | None = None

    def predict(self, context: Any, model_input: Any, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """One row of outputs per input row, as `ServedModel.predict`. Raises RowsRefused where a medium cannot be used."""
        return super().predict(context, self._with_features(model_input), params)

    def _with_features(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The frame with media replaced by the arrays that the network reads of them."""
        names = [name for name in self.card.features if name in frame and spec_of(name).joined_columns() is None]
        cells: dict[InputName, list[Any]] = {name: list(frame[name]) for name in names}
        rows = [
            {name: column[number] for name, column in cells.items() if self._is_medium(name, column[number])}
            for number in range(len(frame))
        ]
        asked = [number for number, row in enumerate(rows) if row]
        if not asked:
            return frame
        read = [{name: _content(number, name, cell) for name, cell in rows[number].items()} for number in asked]
        refused = [cell for row in read for cell in row.values() if isinstance(cell, Refusal)]
        if not refused:
            for number, outcome in zip(asked, self._predictor().features(read), strict=True):
                if isinstance(outcome, Refusal):
                    refused.append(outcome.model_copy(update={"row": number}))
                    continue
                for name, array in outcome.items():
                    cells[name][number] = array
        if refused:
            raise RowsRefused(refused, len(frame))
        import pandas as pd

        return frame.assign(**{name: pd.Series(column, frame.index, object) for name, column in cells.items()})

    def _is_medium(self, name: InputName, cell: Any) -> bool:
        """Whether a cell is neither empty nor what the network reads already."""
        if cell is None or isinstance(cell, float | list | np.ndarray):
            return False
        return not (isinstance(cell, str) and reads_strings(self.card, name))

    def _predictor(self) -> Predictor:
        with self._loading:
            if self._loaded is None:
                request = Request(resolve_config(None, "builtin:digits", []), Store(self._folder), "", "served")
                self._loaded = load_predictor(find_published(self._folder, request), request)
            return self._loaded


def _content(number: int, name: InputName, cell: Any) -> Any:
    """A medium as `Predictor` takes it; a string is the path of a file, or base64, also as a `data:` URI."""
    if not isinstance(cell, str) or spec_of(name).has_tokens:
        return cell
    serving = _SERVING in os.environ
    if not serving and Path(cell[:4096]).is_file():
        return Path(cell)
    text = cell.partition(",")[2] if cell.startswith("data:") else cell
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        instead = "not base64; a request names no file of the server" if serving else "neither a file here nor base64"
        return Refusal(row=number, input=name, reason=BAD_VALUE, detail=f"{cell[:40]!r} is {instead}")
