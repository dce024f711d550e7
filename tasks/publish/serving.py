"""The model as MLflow serves it, from features; `served_model.py`, which is copied into every logged model, runs it behind
flows/serving/mlflow_model.py, which makes features of media.

Input: a data frame with one column per input of the model, each cell the model-ready feature as nested lists or an array
(image (S, S, 3) uint8, audio (T, n_mels) float32 log-mel, text its UTF-8 bytes or tokens as integers; of a frozen pretrained
encoder its vector (D,), of a trained one what the card's encoders say). None where the modality is missing. Output, with the
frame's index: one column per output of the model: the probability of a label, or a number; those of further label columns are
named `column: label`. Where the answer in the first label column is not just the most probable label, a last column names it:
crossmodal.predicted.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from mlflow.pyfunc.model import PythonModel

from data_contracts.expectations.features import FeatureSpec
from data_contracts.modalities import ALL_MODALITIES
from data_contracts.refs import FeatureRef, InputName
from data_contracts.tables import features_schema
from tasks.config import RunConfig
from tasks.errors import DataError
from tasks.modalities import spec_of
from tasks.modeling.card import CARD, FeatureForm, ModelCard, read_card
from tasks.publish.trust import require_manifest
from tasks.publish.versions import PREDICTED
from tasks.samples import Samples
from tasks.store import Store, digest_json

if TYPE_CHECKING:
    import pandas as pd


class ServedModel(PythonModel):
    """Probabilities from features, with the very code that evaluated the model."""

    verify_key: str | None = None
    """The file of the public key that it must be signed with."""

    def load_context(self, context: Any) -> None:
        """Loads model.safetensors and model.json, which lie side by side among the artifacts, once every file is verified.

        Raises EnvironmentFailed or DataError where one is not as it was when the version was verified, or it never was.
        """
        from tasks.modeling.package import load_model

        folder = Path(context.artifacts["model.safetensors"]).parent
        files = require_manifest(folder, self.verify_key)
        self.card = read_card(folder, files[CARD])
        self.model = load_model(folder, self.card, files["model.safetensors"])

    def predict(self, context: Any, model_input: Any, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """One row of probabilities per input row, columns named by the labels; the answer too where they do not tell it."""
        import pandas as pd

        from tasks.modeling.decision import answer_column, output_names
        from tasks.modeling.inference import predict_probabilities

        columns: dict[str, list[Any]] = {
            name: [None] * len(model_input) for name in (*ALL_MODALITIES, *self.card.features)
        }
        with tempfile.TemporaryDirectory() as folder:
            store = Store(folder)
            features: dict[InputName, FeatureRef] = {}
            for name, known in self.card.features.items():
                cells = list(model_input[name]) if name in model_input else columns[name]
                arrays = _to_arrays(name, self.card, cells)
                ref, columns[name] = _store_features(store, name, known, arrays)
                spec = self.card.encoders[name]
                flips = spec.reads == "embedding" and spec.test_time_flip
                features[name] = ref.model_copy(update={"is_flip_averaged": flips})
            samples = Samples(pa.table({name: pa.array(cells, pa.string()) for name, cells in columns.items()}))
            probabilities = predict_probabilities(self.model, samples, features, store)
        frame = pd.DataFrame(probabilities, model_input.index, output_names(self.card))
        if self.card.answers:
            frame[PREDICTED] = answer_column(self.card, 0, probabilities)[0]
        return frame


def feature_shape(card: ModelCard, name: InputName) -> tuple[str, int | None]:
    """What the network reads of an input: a regular expression of the shape, as `32x32x3`, and the longest first axis."""
    spec, kind = card.encoders[name], spec_of(name)
    if spec.reads == "embedding":
        return f"^{spec.width}$", None
    config = RunConfig().model_copy(update={"media": card.config.media, "extract": card.config.extract})
    form: FeatureSpec = (
        kind.tiny_features(name, config) if spec.encoder == "tiny" else kind.pretrained_features(name, spec, config)
    )
    return form.shape, form.longest


def has_shape(array: np.ndarray[Any, Any], shape: str, longest: int | None) -> bool:
    """Whether an array has a shape of `feature_shape`."""
    written = "x".join(map(str, array.shape))
    return bool(array.size and re.search(shape, written)) and (longest is None or len(array) <= longest)


def _to_arrays(name: InputName, card: ModelCard, cells: Sequence[Any]) -> list[np.ndarray[Any, Any] | None]:
    """The features in a column, None where a cell is missing. DataError, which names the row, where one is none."""
    dtype, (shape, longest) = card.features[name].dtype, feature_shape(card, name)
    found: list[np.ndarray[Any, Any] | None] = []
    for row, cell in enumerate(cells):
        try:
            found.append(None if _is_missing(cell) else _to_array(cell, dtype, shape, longest))
        except ValueError as error:
            reads = shape.strip("^$").replace(r"\d+", "N" if longest is None else f"1..{longest}")
            raise DataError(f"row {row}, {name}: {error}; the network reads {dtype} of the shape {reads}") from None
    return found


def _store_features(
    store: Store, name: InputName, known: FeatureForm, cells: Sequence[np.ndarray[Any, Any] | None]
) -> tuple[FeatureRef, list[str | None]]:
    """The cells as a features part; with it, each row's digest (here: its position), None where the cell is missing."""
    digests = [None if cell is None else str(row) for row, cell in enumerate(cells)]
    arrays = [cell for cell in cells if cell is not None]
    table = pa.table(
        {
            "digest": [digest for digest in digests if digest is not None],
            "shape": [list(array.shape) for array in arrays],
            "values": [array.ravel() for array in arrays],
        },
        schema=features_schema(known.dtype),
    )
    ref = FeatureRef(
        uri=f"features/{name}",
        sha256=digest_json(name),
        rows=len(arrays),
        modality=name,
        encoder="served",
        fingerprint=known.fingerprint,
        parts=(store.put_part(f"features/{name}", "served", table),),
        dtype=known.dtype,
        computed=len(arrays),
        reused=0,
    )
    return ref, digests


def _is_missing(cell: Any) -> bool:
    return cell is None or (isinstance(cell, float) and np.isnan(cell))


def _to_array(cell: Any, dtype: str, shape: str, longest: int | None) -> np.ndarray[Any, Any]:
    """A cell as the network reads it. ValueError for what it cannot read: texts, other shapes, numbers the type cannot hold."""
    try:
        numbers = np.asarray(cell.tolist() if isinstance(cell, np.ndarray) and cell.dtype == object else cell)
    except ValueError:
        raise ValueError("is a list of lists of several lengths") from None
    if numbers.size and numbers.dtype.kind not in "biuf":
        raise ValueError("is no list of numbers")
    if not has_shape(numbers, shape, longest):
        raise ValueError(f"has the shape {'x'.join(map(str, numbers.shape)) or 'of one number'}")
    with np.errstate(invalid="ignore", over="ignore"):
        array = numbers.astype(dtype)
    if not np.isfinite(array).all() or (array.dtype.kind != "f" and (array != numbers).any()):
        raise ValueError(f"holds numbers that are no {dtype}")
    return array
