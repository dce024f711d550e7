"""The few names that a user imports.

import crossmodal
model = crossmodal.load("digits@champion")
frame = model.predict("manifest.csv")     # id, predicted, probability, ...
crossmodal.check("manifest.csv")["rows"]
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.environment import new_run_id, store_from_environment, tracking_uri_from_environment
from flows.request import Request, make_request, resolve_config
from tasks.config import RunConfig
from tasks.errors import CrossmodalError, DataError, EnvironmentFailed, PromotionRefused, UsageError

if TYPE_CHECKING:
    import pandas as pd

    from data_contracts.refs import ChampionRef

__all__ = [
    "CrossmodalError",
    "DataError",
    "EnvironmentFailed",
    "Model",
    "PromotionRefused",
    "RunConfig",
    "UsageError",
    "check",
    "load",
]


@dataclass(frozen=True)
class Model:
    """A published model."""

    name: str
    version: str
    labels: tuple[str, ...]
    """In the order of the `probabilities` column."""
    _champion: ChampionRef
    _store: str

    def predict(self, manifest: str | Path) -> pd.DataFrame:
        """One row per readable sample: id, label, predicted, probability, probabilities, modalities.

        Raises UsageError for a path that does not exist, DataError for data that cannot be read.
        """
        from flows.pipeline import Progressed
        from flows.score import predict_table

        table = predict_table(_request(manifest, (), self._store), self._champion, Progressed())
        frame: pd.DataFrame = table.to_pandas()
        return frame


def load(model: str, store: str | Path | None = None) -> Model:
    """The model that `NAME` or `NAME@ALIAS` names in the store's registry. Raises UsageError when there is none."""
    from flows.score import find_model
    from tasks.modeling.card import read_card

    request = _request("builtin:digits", (), store)
    champion = find_model(request, model)
    labels = tuple(read_card(request.store.path(champion.uri))["labels"])
    return Model(champion.name, champion.version, labels, champion, str(request.store.root))


def check(manifest: str | Path, overrides: tuple[str, ...] = (), store: str | Path | None = None) -> dict[str, Any]:
    """The summary of reading, cleaning and validating a manifest. Raises CrossmodalError where it breaks its contract."""
    from flows.execute import RunFailed
    from flows.prepare import check_manifest

    try:
        return check_manifest(_request(manifest, overrides, store))[0]
    except RunFailed as failure:
        raise failure.error from None


def _request(manifest: str | Path, overrides: tuple[str, ...], store: str | Path | None) -> Request:
    config = resolve_config(None, str(manifest), overrides)
    place = store_from_environment(None if store is None else str(store))
    return make_request(config, place, tracking_uri_from_environment(), new_run_id())
