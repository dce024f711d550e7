"""The model as MLflow serves it, from features; `served_model.py`, which is copied into every logged model, runs it behind
flows/serving/mlflow_model.py, which makes features of media.

Input: a data frame with one column per input of the model, each cell the model-ready feature as nested lists or an array
(image (S, S, 3) uint8, audio (T, n_mels) float32 log-mel, text a string, or its UTF-8 bytes or tokens as integers; of a
frozen pretrained encoder its vector (D,), of a trained one what the card's encoders say). The columns of a table stand under
their own names, as the manifest has them. None where the modality is missing. Output: one column per output of the model: the
probability of a label, or a number; those of further label columns are named `column: label`. Where the answer in the first
label column is not just the most probable label, a last column names it: crossmodal.predicted.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from mlflow.pyfunc.model import PythonModel

from data_contracts.modalities import ALL_MODALITIES
from data_contracts.refs import FeatureRef, InputName
from data_contracts.tables import features_schema
from tasks.errors import DataError
from tasks.media.canonical import Undecodable
from tasks.media.text import decode_text
from tasks.modalities import JoinedColumns, spec_of
from tasks.modeling.card import FeatureForm, ModelCard, read_card
from tasks.publish.versions import PREDICTED
from tasks.samples import Samples
from tasks.store import Store, digest_json

if TYPE_CHECKING:
    import pandas as pd


class ServedModel(PythonModel):
    """Probabilities from features, with the very code that evaluated the model."""

    def load_context(self, context: Any) -> None:
        """Loads model.safetensors and model.json, which lie side by side among the artifacts."""
        from tasks.modeling.package import load_model

        folder = Path(context.artifacts["model.safetensors"]).parent
        self.card = read_card(folder)
        self.model = load_model(folder, self.card)
        self.tokenize = _tokenizer(folder, self.card)

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
                if (joined := spec_of(name).joined_columns()) is not None:
                    cells = _join_rows(name, joined, self.card, model_input)
                if self.tokenize is not None and spec_of(name).has_tokens:
                    cells = [self.tokenize(cell) if isinstance(cell, str) else cell for cell in cells]
                features[name], columns[name] = _store_features(store, name, known, cells)
            samples = Samples(pa.table({name: pa.array(cells, pa.string()) for name, cells in columns.items()}))
            probabilities = predict_probabilities(self.model, samples, features, store)
        frame = pd.DataFrame(probabilities, columns=output_names(self.card))
        if self.card.answers:
            frame[PREDICTED] = answer_column(self.card, 0, probabilities)[0]
        return frame


def _join_rows(name: InputName, joined: JoinedColumns, card: ModelCard, frame: pd.DataFrame) -> list[Any]:
    """What the encoder reads of each row: of a frame's columns under their own names, or of objects in a column of the input's
    name. None for a row without any. DataError for what no cell can be."""
    entries = joined.columns_read(card.encoders[name])
    columns = [joined.split_entry(entry)[0] for entry in entries]
    if name in frame:
        rows = [cell if isinstance(cell, dict) else {} for cell in frame[name]]
    else:
        rows = frame[[column for column in columns if column in frame]].to_dict("records")
    prepare = spec_of(name).prepare_tiny({})
    found = []
    for row in rows:
        try:
            medium = joined.join({column: row.get(column) for column in columns})
        except ValueError as error:
            raise DataError(f"{name}: {error}") from None
        found.append(None if medium is None else prepare(medium, 0))
    return found


def _tokenizer(folder: Path, card: ModelCard) -> Callable[[str], np.ndarray[Any, Any]] | None:
    """What cuts a text into the tokens that the model reads, from the model's own file; None where it has none."""
    specs = [spec for name, spec in card.encoders.items() if spec_of(name).has_tokens]  # the same for all texts
    spec = specs[0] if specs else None
    if spec is None or spec.tokenizer_sha256 is None:
        return None
    from tasks.modeling.pretrained.tokenization import packaged_tokenizer

    limits = card.config.media.model_dump()
    tokenize = packaged_tokenizer(folder, spec, card.config.extract.max_tokens)

    def read(text: str) -> np.ndarray[Any, Any]:
        """(L,) the ids of a text's tokens. DataError where ingest would refuse the text."""
        try:
            return tokenize(decode_text(text.encode(), limits).data.decode())  # as ingest leaves it
        except Undecodable as error:
            raise DataError(f"text {text[:40]!r}: cannot be read ({error}); give None where there is none") from None

    return read


def _store_features(
    store: Store, name: InputName, known: FeatureForm, cells: Sequence[Any]
) -> tuple[FeatureRef, list[str | None]]:
    """The cells as a features part; with it, each row's digest (here: its position), None where the cell is missing."""
    digests = [None if _is_missing(cell) else str(row) for row, cell in enumerate(cells)]
    arrays = [_to_array(cell, known.dtype) for cell in cells if not _is_missing(cell)]
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


def _to_array(cell: Any, dtype: str) -> np.ndarray[Any, Any]:
    if isinstance(cell, str):
        if dtype != "uint8":
            raise DataError(
                f"a text was given as it is, but this model reads {dtype} features of it (the vector of a frozen encoder, "
                "or tokens of a tokenizer that did not go with it); give those, or use crossmodal predict"
            )
        return np.frombuffer(cell.encode(), np.uint8)
    return np.asarray(cell.tolist() if isinstance(cell, np.ndarray) and cell.dtype == object else cell, dtype=dtype)
