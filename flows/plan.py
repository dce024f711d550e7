"""What a retrain would compute and what it would reuse: what `crossmodal plan` prints. Loads neither torch nor Prefect."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from data_contracts.encoder_choice import ComparedEncoders, EncoderChoice
from data_contracts.modalities import modality_of
from data_contracts.refs import CheckpointRef, CleanRef, FeatureRef, InputName, Modality, RawRef, Split, ValidatedRef
from data_contracts.training_history import StartChoice
from flows.champion import champion_to_continue
from flows.data_stages import flipped, tries_flip, with_earlier
from flows.encoder_choice import find_choice
from flows.plan_choice import plan_of_open
from flows.plan_line import Action, PlanLine
from flows.plan_since import Earlier, last_run, rates
from flows.request import Request
from flows.training_start import MOST_CHANGED, choose_start, describe_start
from tasks.contract import read_table
from tasks.encoder_choice import (
    blended,
    blends,
    compare,
    compare_blend,
    encoders_to_try,
    open_modalities,
    with_encoders,
)
from tasks.extract.extract import clean_of, features_fingerprint, missing_media, preview_features, stored_digests
from tasks.ingest.ingest import ingest_key
from tasks.ingest.manifest.row_changes import RowChanges
from tasks.ingest.manifest.scan import scan
from tasks.ingest.sources.resolve import locate_data
from tasks.media.media_store import media_fingerprint, media_index
from tasks.reporting.artifacts import read_history
from tasks.train.blending import stored_blend
from tasks.train.paired_losses import stored_losses
from tasks.train.request import TrainRequest
from tasks.train.train import train_key
from tasks.validate.validate import samples_key

EPOCHS = "at most so many epochs"


def plan_retrain(request: Request) -> list[PlanLine]:
    """One line per stage: `reuse` or `compute`, how many rows, media, epochs or models of it, how long, and why."""
    return plan_rows(request, scan(request.config, request.store, locate_data(request.config, request.store)))


def plan_rows(request: Request, raw: RawRef) -> list[PlanLine]:
    """The same, of rows that were read already."""
    raw, earlier, known_rates = with_earlier(raw, request), last_run(request), rates(request)

    def plan(request: Request) -> _Plan:
        """Under these settings."""
        before = earlier.as_candidate(request.config, kinds) if earlier and kinds else earlier
        return _Plan(request, raw, before, known_rates, bool(kinds))

    kinds = open_modalities(request.config)
    if not kinds:
        return plan(request).lines()
    return plan_of_open(
        request, raw.modalities, raw.rows, lambda one: _known_choice(one, plan), lambda one: plan(one).lines()
    )


def _known_choice(request: Request, plan: Callable[[Request], _Plan]) -> EncoderChoice | None:
    """What a retrain would choose of encoders that are left open; None while one of its trainings is not in the store."""
    valid = plan(request).validated()
    if valid is None:
        return None
    checkpoints: dict[str, CheckpointRef] = {}

    def find(encoders: dict[Modality, str]) -> ComparedEncoders | None:
        """What a model reached that is in the store."""
        one = plan(replace(request, config=with_encoders(request.config, encoders)))
        asked, _ = one.training(valid, one.extraction(valid)[0])
        found = request.store.find("checkpoints", train_key(asked, request.store))
        if found is None:
            return None
        checkpoint = checkpoints[str(encoders)] = CheckpointRef.model_validate(found.ref)
        history = read_history(checkpoint, request.store)
        return None if history is None else compare(encoders, checkpoint, history)

    def blend(several: list[dict[Modality, str]]) -> ComparedEncoders | None:
        """Their blend, where the store has it."""
        checkpoint = stored_blend([checkpoints[str(one)] for one in several], request.store)
        if checkpoint is None:
            return None
        encoders, history = blended(several), read_history(checkpoint, request.store)
        checkpoints[str(encoders)] = checkpoint
        return None if history is None else compare_blend(encoders, checkpoint, history)

    return find_choice(
        encoders_to_try(request.config, valid.clean.modalities, valid.rows),
        find,
        lambda one, other: stored_losses(checkpoints[str(one)], checkpoints[str(other)], request.store),
        blend if blends(request.config) else None,
        mixes=not blends(request.config),
    )


def describe_plan(lines: list[PlanLine]) -> str:
    """The plan as one sentence: what would be computed, and about how long that takes."""
    computed = [line for line in lines if line["action"] == "compute"]
    if not computed:
        return "plan: nothing to compute, all of it is in the store"
    known = [line["seconds"] for line in computed if line["seconds"] is not None]
    about = f"; at most about {sum(known):.0f} s by the last runs" if known else ""
    work = ", ".join(f"{line['stage']} ({line['why']})" for line in computed)
    return f"plan: would compute {work}{about}"


@dataclass(frozen=True)
class _Plan:
    request: Request
    raw: RawRef
    earlier: Earlier | None
    rates: dict[str, float]
    is_candidate: bool
    """Whether its model is one of several that the validation rows choose from."""

    def lines(self) -> list[PlanLine]:
        """Of every stage, in their order."""
        config, store = self.request.config, self.request.store
        changes = None if self.earlier is None else self.earlier.rows_since(self.raw, store)
        rows = self._rows(changes)
        found = store.find("clean", ingest_key(self.raw, config))
        clean = self._same_elsewhere() if found is None else CleanRef.model_validate(found.ref)
        if clean is None:
            return [rows, *self._before_ingest(), *self._unknown_training(changes)]
        moved = "" if found is not None else "; their media lie elsewhere, so that their table is written anew"
        ingest = _line("ingest", "reuse", clean.rows, f"{clean.rows} samples, unchanged{moved}")
        found = store.find("validations", samples_key(clean, config))
        if found is None:
            validate = self._line("validate", clean.rows, clean.rows, "samples that were not validated yet")
            return [rows, ingest, validate, *self.extraction(clean)[1], *self._unknown_training(changes)]
        valid = ValidatedRef.model_validate(found.ref)
        validate = _line("validate", "reuse", valid.rows, "the contract was met by these samples")
        features, extract = self.extraction(valid)
        return [rows, ingest, validate, *extract, *self._known_training(valid, features, changes)]

    def validated(self) -> ValidatedRef | None:
        """The samples that met their contract; None where they are not in the store."""
        found = self.request.store.find("clean", ingest_key(self.raw, self.request.config))
        clean = self._same_elsewhere() if found is None else CleanRef.model_validate(found.ref)
        found = (
            None if clean is None else self.request.store.find("validations", samples_key(clean, self.request.config))
        )
        return None if found is None else ValidatedRef.model_validate(found.ref)

    def _same_elsewhere(self) -> CleanRef | None:
        """The samples of the last run, where these rows differ from its own by their places only."""
        if self.earlier is None or self.earlier.refs.raw is None:
            return None
        before, config = self.earlier.refs.raw, self.earlier.config
        if ingest_key(before.model_copy(update={"uri": self.raw.uri}), config) != ingest_key(
            self.raw, self.request.config
        ):
            return None
        found = self.request.store.find("clean", ingest_key(before, config))
        return None if found is None else CleanRef.model_validate(found.ref)

    def _rows(self, changes: RowChanges | None) -> PlanLine:
        if self.earlier is None:
            return _line("rows", "ok", self.raw.rows, "no run of this model before")
        if changes is None:
            return _line("rows", "ok", self.raw.rows, f"run {self.earlier.run} left no table to compare with")
        return _line("rows", "ok" if changes else "reuse", self.raw.rows, f"{changes} since run {self.earlier.run}")

    def _before_ingest(self) -> list[PlanLine]:
        """While it is not known yet which samples the rows make: what their media tell."""
        decode, extract = [], []
        for modality, sources in self._sources().items():
            stored = self._stored_media(modality)
            new = len(sources - stored.keys())
            decode.append(
                self._line(f"decode {modality}", new, len(sources), f"{new} of {len(sources)} files are new", "ingest")
            )
            extract.append(self._media_features(modality, {stored[one] for one in sources & stored.keys()}, new))
        validate = self._line("validate", self.raw.rows, 0, "the samples that these rows become")
        return [*decode, validate, *extract, *self._flips_of_unknown_samples()]

    def _flips_of_unknown_samples(self) -> list[PlanLine]:
        """One line for each modality whose embeddings are averaged to try test_time_flip, without a count."""
        config = self.request.config
        if not tries_flip(self.raw.targets, self.raw.modalities, config):
            return []
        why = "validation samples, once they are known, unless labels name sides; test samples where it is chosen"
        return [
            _line(f"extract {modality}, test-time flip", "compute", None, why)
            for modality in dict.fromkeys(map(modality_of, self.raw.modalities))
            for media in [media_fingerprint(modality, config.media)]
            if features_fingerprint(modality, media, flipped(config)) != features_fingerprint(modality, media, config)
        ]

    def _sources(self) -> dict[Modality, set[str]]:
        """Modality to the digests of the files and cells that the rows name."""
        table = read_table(self.request.store.path(self.raw.uri) / "rows.parquet")
        sources: dict[Modality, set[str]] = defaultdict(set)
        for name in self.raw.modalities:
            sources[modality_of(name)].update(table[f"{name}_sha256"].drop_null().to_pylist())
        return sources

    def _stored_media(self, modality: Modality) -> dict[str, str | None]:
        """The digest of a file or cell to that of the medium it holds; None where it could not be decoded."""
        fingerprint = media_fingerprint(modality, self.request.config.media)
        index = media_index(self.request.store, modality, fingerprint, ("source", "digest"))
        return dict(zip(index["source"].to_pylist(), index["digest"].to_pylist(), strict=True))

    def _media_features(self, modality: Modality, digests: set[str | None], new: int) -> PlanLine:
        config, store = self.request.config, self.request.store
        fingerprint = features_fingerprint(modality, media_fingerprint(modality, config.media), config)
        wanted = {digest for digest in digests if digest is not None}
        lacking = len(wanted - stored_digests(modality, fingerprint, store, wanted)) + new
        why = f"at most {lacking} media to compute, {len(digests) + new - lacking} in the store"
        return self._extraction(modality, lacking, len(digests) + new, why, fingerprint)

    def extraction(self, samples: CleanRef | ValidatedRef) -> tuple[dict[InputName, FeatureRef], list[PlanLine]]:
        """The features as they will be, and a line for each input."""
        config, store = self.request.config, self.request.store
        features = preview_features(samples, config, store, missing_media(samples, config, store))
        lines = [
            self._extraction(
                name,
                ref.computed,
                ref.reused,
                f"{ref.computed} samples to compute, {ref.reused} in the store",
                ref.fingerprint,
            )
            for name, ref in features.items()
        ]
        clean = clean_of(samples)
        if not tries_flip(clean.label_targets, clean.modalities, config):
            return features, lines
        both = flipped(config)
        mirrored = preview_features(samples, both, store, missing_media(samples, both, store, ("val",)), ("val",))
        tried = {name: ref for name, ref in mirrored.items() if ref.is_flip_averaged}
        lines += [
            self._line(
                f"extract {name}, test-time flip",
                ref.computed,
                ref.reused,
                f"{ref.computed} validation samples to compute, {ref.reused} in the store; test samples where it is chosen",
                "extract",
            )
            for name, ref in tried.items()
        ]
        return {
            name: ref.model_copy(update={"test_time": tried[name]} if name in tried else {})
            for name, ref in features.items()
        }, lines

    def _extraction(self, name: InputName, computed: int, otherwise: int, why: str, fingerprint: str) -> PlanLine:
        reason = self.earlier.why_anew(name, fingerprint, self.request.config) if self.earlier and computed else ""
        return self._line(f"extract {name}", computed, otherwise, f"{why} ({reason})" if reason else why, "extract")

    def _unknown_training(self, changes: RowChanges | None) -> list[PlanLine]:
        """Where the samples are not there yet: whether it is needed shows in their train and validation rows."""
        why = self._why_trained(changes) or EPOCHS
        if self.request.config.train.continue_from == "auto":
            why += (
                f"; from the champion's weights, too, where at most {100 * MOST_CHANGED:g} % of its train rows changed"
            )
        splits = {} if self.earlier is None or self.earlier.refs.clean is None else self.earlier.refs.clean.splits
        return self._train_and_after(splits, f"{why} (not where only test rows have changed)" if changes else why)

    def _known_training(
        self, valid: ValidatedRef, features: dict[InputName, FeatureRef], changes: RowChanges | None
    ) -> list[PlanLine]:
        store, splits = self.request.store, valid.clean.splits
        asked, choice = self.training(valid, features)
        start, key = asked.champion, train_key(asked, store)
        if store.find("checkpoints", key) is not None:
            train = _line("train", "reuse", 1, "this model is in the store")
            known = self.earlier is not None and self.earlier.refs.valid == valid
            return (
                [train] if known else [train, self._evaluation(splits, "test rows that no run of it was evaluated on")]
            )
        resumed = (store.root / "work" / f"train-{key}").is_dir()
        reasons = [self._why_trained(changes), "other features" if any(it.computed for it in features.values()) else ""]
        why = "; ".join(filter(None, [*(list(filter(None, reasons)) or [EPOCHS]), describe_start(start, choice)]))
        return self._train_and_after(splits, "resumes from its last epoch" if resumed else why)

    def training(
        self, valid: ValidatedRef, features: dict[InputName, FeatureRef]
    ) -> tuple[TrainRequest, StartChoice | None]:
        """What would be trained, and what a person is told of its start."""
        champion = champion_to_continue(self.request)
        start, choice = choose_start(champion, valid, features, self.request, self.is_candidate)
        return TrainRequest(valid=valid, features=features, config=self.request.config, champion=start), choice

    def _train_and_after(self, splits: Mapping[Split, int], why: str) -> list[PlanLine]:
        epochs = self.request.config.train.epochs
        before = epochs if self.earlier is None else self.earlier.config.train.epochs  # what the rates were made with
        # The rates are of all that a run trained.
        models = self.earlier.tried if self.earlier and self.is_candidate else 1
        train = self._line("train", epochs, 0, why, units=round(splits.get("train", 0) * epochs / before / models))
        evaluate = self._evaluation(splits, "test rows, by the new model and the champion")
        return [train, evaluate, self._line("publish", 1, 0, "where the gate passes it")]

    def _evaluation(self, splits: Mapping[Split, int], why: str) -> PlanLine:
        test = splits.get("test", 0)
        return self._line("evaluate", 1, 0, why, units=test) | {"count": test or None}

    def _why_trained(self, changes: RowChanges | None) -> str:
        """What is not as it was at the last run; empty where there was none, or nothing tells."""
        if self.earlier is None:
            return ""
        settings = self.earlier.settings_since(self.request.config, "seed", "fusion", "train", "encoders", "split")
        return "; ".join(filter(None, (f"rows: {changes}" if changes else "", settings)))

    def _line(
        self, stage: str, computed: int, otherwise: int, why: str, timed_as: str | None = None, units: int | None = None
    ) -> PlanLine:
        """`otherwise`: the count where nothing is to compute; `units`: what the stage's seconds count, where not the same."""
        rate = self.rates.get(timed_as or stage)
        seconds = round(rate * (computed if units is None else units), 1) if rate and computed else None
        action: Action = "compute" if computed else "reuse"
        return {"stage": stage, "action": action, "count": computed or otherwise, "seconds": seconds, "why": why}


def _line(stage: str, action: Action, count: int | None, why: str) -> PlanLine:
    return {"stage": stage, "action": action, "count": count, "seconds": None, "why": why}
