"""The folder that MLflow takes for a model: our files, code, the model card, a signature and an input example."""

from __future__ import annotations

import base64
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from data_contracts.refs import ColumnType, FeatureRef, InputName
from tasks.contract import read_table
from tasks.modalities import spec_of
from tasks.modeling.card import ModelCard, read_card
from tasks.modeling.decision import output_names
from tasks.modeling.pretrained.locate import TIMM
from tasks.publish import versions
from tasks.store import Store

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.models import ModelSignature

EXAMPLE_TEXT = "an example"
_LIBRARIES = (
    *(
        "av",
        "mlflow",
        "numpy",
        "pandas",
        "pillow",
        "pyarrow",
        "pydantic",
        "safetensors",
        "simplejpeg",
        "soundfile",
        "soxr",
    ),
    *("torch", "torchvision", "transformers"),
)


def stage_model(
    checkpoint: Path,
    card: str,
    beside: Sequence[Path],
    features: Mapping[InputName, FeatureRef],
    store: Store,
    folder: Path,
    encoders: bool = True,
) -> None:
    """An MLflow model is in `folder`: our files, those on the rows it was made with, the model card, and its code.

    `encoders`: whether frozen ones go with it. `features` say what an input of one that does not looks like: the example has
    their shapes, and none of their content.
    """
    import mlflow.pyfunc

    readme = folder.parent / "README.md"
    readme.write_text(card, encoding="utf-8")
    record = read_card(checkpoint)
    files = [checkpoint / name for name in (*versions.FILES, *record.files_beside())] + [*beside, readme]
    # Advice on type hints, meant for authors of models. Recorded, because MLflow overrides filters that ignore it.
    with warnings.catch_warnings(record=True):
        mlflow.pyfunc.save_model(
            path=str(folder),
            python_model=str(Path(__file__).with_name("served_model.py")),
            artifacts={
                file.name: file.as_uri() for file in files
            },  # a path is read as an address: ? and # would end it
            pip_requirements=list(requirements(record)),
            signature=make_signature(record),
            input_example=make_example(record, features, store, encoders),
        )


def requirements(card: ModelCard) -> Iterator[str]:
    """What serving needs besides crossmodal itself, which is on no index: naming it there would invite an impostor."""
    from importlib.metadata import version

    timm = ["timm"] if any(spec.model_type == TIMM for spec in card.encoders.values()) else []
    for library in (*_LIBRARIES, *timm):
        yield f"{library}=={version(library)}"


def make_signature(card: ModelCard) -> ModelSignature:
    """One optional column per input, one column per output (serving.py).

    A text is a string. What may be a file, its content or an array is of any type: MLflow knows no such union, and would check
    nested arrays number by number in Python, which takes longer than the prediction.
    """
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema
    from mlflow.types.schema import AnyType

    anything: AnyType = AnyType()  # type: ignore[no-untyped-call]

    def kind(name: InputName) -> DataType | AnyType:
        """MLflow's type of a column of the input."""
        return DataType.string if reads_strings(card, name) else anything

    outputs = [ColSpec(DataType.float, name) for name in output_names(card)]
    if card.answers:
        outputs.append(ColSpec(anything, versions.PREDICTED))
    named = [(column, name) for name in card.features for column in _columns(card, name) or [name]]
    inputs = [ColSpec(anything if column != name else kind(name), column, required=False) for column, name in named]
    return ModelSignature(Schema([*inputs]), Schema([*outputs]))


def make_example(
    card: ModelCard, features: Mapping[InputName, FeatureRef], store: Store, encoders: bool = True
) -> pd.DataFrame:
    """One row with every input: a synthetic medium in base64, a text that nobody wrote; where its encoder is not there, zeros
    of the shape of its vector."""
    import pandas as pd

    cells: dict[str, list[Any]] = {}
    for name in card.features:
        if (columns := _columns(card, name)) is not None:
            cells |= {column: [0.0 if of == "numeric" else EXAMPLE_TEXT] for column, of in columns.items()}
        elif reads_strings(card, name):
            cells[name] = [EXAMPLE_TEXT]
        elif (encoders or card.encoders[name].reads == "inputs") and (sample := spec_of(name).sample(0)) is not None:
            cells[name] = [sample if isinstance(sample, str) else base64.b64encode(sample[1]).decode()]
        else:
            shape = read_table(store.path(features[name].parts[0]), ["shape"])["shape"][0].as_py()
            cells[name] = [np.zeros(shape, card.features[name].dtype).tolist()]
    return pd.DataFrame(cells)


def _columns(card: ModelCard, name: InputName) -> dict[str, ColumnType | None] | None:
    """The columns that an input is made of, with their types; None where it is a column itself."""
    joined = spec_of(name).joined_columns()
    return None if joined is None else dict(map(joined.split_entry, joined.columns_read(card.encoders[name])))


def reads_strings(card: ModelCard, name: InputName) -> bool:
    """Whether the served model takes a text as it is: its UTF-8 bytes are what it reads, or its tokenizer goes with it."""
    if not spec_of(name).has_tokens:
        return False
    return card.features[name].dtype == "uint8" or card.encoders[name].tokenizer_sha256 is not None
