"""The model as MLflow serves it, asked with media: paths, bytes, base64, texts and cells of a table become what the network
reads, by the code that reads rows everywhere else. What tasks/publish/serving.py takes is taken as well.
"""

from __future__ import annotations

import base64
import binascii
import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from data_contracts.modalities import INPUTS
from data_contracts.refs import IN_CELLS, InputName
from flows.request import Request, resolve_config, verify_key_from_environment
from flows.serving.loading import find_published, load_predictor
from flows.serving.prediction import Refusal, RowsRefused
from flows.serving.predictor import Predictor
from flows.serving.row_media import RowMedia, frame_rows, is_missing
from tasks.errors import UsageError
from tasks.media.canonical import Undecodable
from tasks.media.in_memory import BAD_VALUE
from tasks.modalities import spec_of
from tasks.publish.serving import ServedModel, feature_shape, has_shape
from tasks.store import Store

if TYPE_CHECKING:
    import pandas as pd

_SERVING = "__pyfunc_model_path__"
"""MLflow sets this variable in the processes of `mlflow models serve`, where a string comes from someone else."""
Row = Mapping[str, Any]


class MediaModel(ServedModel):
    """Probabilities from media or from features."""

    def load_context(self, context: Any) -> None:
        """Loads the model; what reads media waits for the first that comes."""
        self.verify_key = verify_key_from_environment()
        super().load_context(context)
        self._folder = Path(context.artifacts["model.safetensors"]).parent
        self._loading = threading.Lock()
        self._loaded: Predictor | None = None

    def predict(self, context: Any, model_input: Any, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """One row of outputs per input row, with the frame's index, as `ServedModel.predict`.

        Raises RowsRefused or DataError, which name row and input, where a cell cannot be used or a row holds nothing;
        UsageError for what is no data frame, and for one without a column that the model reads.
        """
        import pandas as pd

        if not isinstance(model_input, pd.DataFrame):
            raise UsageError(
                f"predict: cannot read a value of type {type(model_input).__name__}; give a data frame, one column per input"
            )
        rows = self._read(frame_rows(model_input, RowMedia(self.card, self.card.config.media).columns))
        columns = {name: [row.get(name) for row in rows] for name in self.card.features}
        index = model_input.index
        features = pd.DataFrame({name: pd.Series(cells, index, object) for name, cells in columns.items()}, index)
        return super().predict(context, features, params)

    def _read(self, rows: Sequence[Row]) -> list[dict[InputName, Any]]:
        """What the network reads of each row: features as they are, and those that `Predictor` makes of all else."""
        found = [self._features_in(row) for row in rows]
        asked: dict[int, Row] = {}
        refused: list[Refusal] = []
        for number, row in enumerate(rows):
            media = {name: cell for name, cell in row.items() if name not in found[number] and not is_missing(cell)}
            contents = {name: _content(name, cell) for name, cell in media.items()}
            broken = {name: cell for name, cell in contents.items() if isinstance(cell, Undecodable)}
            for name, error in broken.items():
                refused.append(Refusal(row=number, input=name, reason=error.reason, detail=error.detail))
            if not broken and (media or not found[number]):
                asked[number] = contents
        outcomes = self._predictor().features(list(asked.values())) if asked else []
        for number, outcome in zip(asked, outcomes, strict=True):
            if not isinstance(outcome, Refusal):
                found[number] |= outcome
            elif not (outcome.reason == "no-modality" and found[number]):  # a silent clip beside a feature
                refused.append(outcome.model_copy(update={"row": number}))
        if refused:
            raise RowsRefused(sorted(refused, key=lambda refusal: refusal.row), len(rows))
        return found

    def _features_in(self, row: Row) -> dict[InputName, Any]:
        """The cells of a row that are what the network reads already: lists, and arrays of its type and shape."""
        return {name: cell for name, cell in row.items() if name in self.card.features and self._is_feature(name, cell)}

    def _is_feature(self, name: InputName, cell: Any) -> bool:
        if spec_of(name).joined_columns() is not None or not isinstance(cell, list | np.ndarray):
            return False
        if isinstance(cell, list) or cell.dtype == object:  # object: nested lists that came out of a Parquet file
            return True
        return cell.dtype == self.card.features[name].dtype and has_shape(cell, *feature_shape(self.card, name))

    def _predictor(self) -> Predictor:
        with self._loading:
            if self._loaded is None:
                request = Request(resolve_config(None, "builtin:digits", []), Store(self._folder), "", "served")
                self._loaded = load_predictor(find_published(self._folder, request), request)
            return self._loaded


def _content(name: str, cell: Any) -> Any:
    """A cell as `Predictor` takes it; a string in place of a file is its path, or base64, also as a `data:` URI."""
    if not isinstance(cell, str) or name not in INPUTS or INPUTS[name] in IN_CELLS:
        return cell
    serving = _SERVING in os.environ
    if not serving and _is_file(cell):
        return Path(cell)
    text = cell.partition(",")[2] if cell.startswith("data:") else cell
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        instead = "not base64; a request names no file of the server" if serving else "neither a file here nor base64"
        return Undecodable(BAD_VALUE, f"{cell[:40]!r} is {instead}")


def _is_file(text: str) -> bool:
    try:
        return Path(text).expanduser().is_file()
    except (OSError, RuntimeError, ValueError):  # too long for a name, of no user, not to be encoded
        return False
