"""What trainings of one study share: rows, and features wherever their encoders are the same."""

from __future__ import annotations

from dataclasses import dataclass, field

from data_contracts.modalities import ALL_MODALITIES
from data_contracts.refs import CheckpointRef, ValidatedRef
from flows.data_stages import extract_features
from flows.run_state import RunState
from flows.stages import Features, Stages
from tasks.config import RunConfig
from tasks.errors import DataError
from tasks.store import Store, digest_json
from tasks.train.request import TrainRequest
from tasks.train.train import train


@dataclass
class SharedFeatures:
    """Trains models of several settings on the same rows, each medium read and encoded once for all of them."""

    config: RunConfig
    valid: ValidatedRef
    store: Store
    stages: Stages
    run_state: RunState
    _features: dict[str, Features] = field(default_factory=dict, init=False)

    def features_of(self, config: RunConfig) -> Features:
        """The features as these settings make them: of the inputs whose encoder is not off. DataError where none is left."""
        encoded = self._with_all(config)
        key = digest_json([encoded.subset("encoders", "extract"), encoded.train.regime])
        if key not in self._features:
            self._features[key] = extract_features(self.valid, encoded, self.store, self.stages, self.run_state)
        kept = {name: ref for name, ref in self._features[key].items() if config.encoders.of(name) != "off"}
        if not kept:
            raise DataError(
                f"encoders: that of every input ({', '.join(self._features[key])}) is off; nothing is left to learn from"
            )
        return kept

    def training(self, config: RunConfig) -> TrainRequest:
        """What is trained under these settings."""
        return TrainRequest(valid=self.valid, features=self.features_of(config), config=config)

    def train(self, config: RunConfig) -> CheckpointRef:
        """The trained model; in this process, which has loaded all that it needs, unless several train together."""
        isolate = config.train.devices > 1
        with self.run_state.timed("train"):
            return train(self.training(config), self.store, isolate)

    def _with_all(self, config: RunConfig) -> RunConfig:
        """The same settings with the study's own encoders where these leave a modality out."""
        own: dict[str, str] = {
            kind: self.config.encoders.of(kind) for kind in ALL_MODALITIES if config.encoders.of(kind) == "off"
        }
        return config.model_copy(update={"encoders": config.encoders.model_copy(update=own)})
