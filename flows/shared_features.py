"""What trainings of one study share: rows, and features wherever their encoders are the same."""

from __future__ import annotations

from dataclasses import dataclass, field

from data_contracts.modalities import modality_of
from data_contracts.refs import CheckpointRef, ValidatedRef
from flows.data_stages import extract_features
from flows.run_state import RunState
from flows.stages import Features, Stages
from tasks.config import RunConfig
from tasks.store import Store, digest_json
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
        """The features as these settings make them; those of a model with more modalities are taken where there are such."""
        key = self._key(config)
        if key not in self._features:
            whole = self._features.get(self._key(self._with_all(config)), {})
            kept = {name: ref for name, ref in whole.items() if config.encoders.of(name) != "off"}
            self._features[key] = kept or extract_features(self.valid, config, self.store, self.stages, self.run_state)
        return self._features[key]

    def train(self, config: RunConfig) -> CheckpointRef:
        """The trained model; in this process, which has loaded all that it needs, unless several train together."""
        isolate = config.train.devices > 1
        with self.run_state.timed("train"):
            return train(self.valid, self.features_of(config), config, self.store, None, isolate)

    def _with_all(self, config: RunConfig) -> RunConfig:
        """The same settings with the encoders of the study's own where these leave a modality out."""
        own = {modality_of(name): self.config.encoders.of(name) for name in self.valid.clean.modalities}
        left_out = {kind: encoder for kind, encoder in own.items() if config.encoders.of(kind) == "off"}
        return config.model_copy(update={"encoders": config.encoders.model_copy(update=left_out)})

    @staticmethod
    def _key(config: RunConfig) -> str:
        return digest_json([config.subset("encoders", "extract"), config.train.regime])
