"""A passing Verdict becomes the champion: logged, registered, read back, verified; the alias moves last.

Every step may be the last one before a kill. Done again, each finds what the one before it left: the run by its
run id, the version by its digests, the status by its tag. So there is never a second version of the same model, and
the alias never points to bytes that were not read back and compared.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pydantic import SecretBytes

from data_contracts.refs import (
    ChampionRef,
    CheckpointRef,
    EvalReport,
    FeatureRef,
    InputName,
    ReleaseRef,
    ValidatedRef,
    Verdict,
)
from data_contracts.tables import PREDICTIONS
from tasks import progress
from tasks.config import RunConfig
from tasks.errors import EnvironmentFailed, PromotionRefused
from tasks.modeling.card import CARD, read_card
from tasks.modeling.pretrained.packaged import ENCODERS
from tasks.modeling.profile import PROFILE, profile_rows, write_profile
from tasks.modeling.training_rows import ROWS, write_rows
from tasks.publish import tracking, versions
from tasks.publish.addresses import local_path
from tasks.publish.alias_history import Move, move_alias
from tasks.publish.approval import CHALLENGER, mark_pending, require_not_rejected, waiting_verdicts
from tasks.publish.card import history_of, write_card
from tasks.publish.chain import chain_of, require_chained
from tasks.publish.connection import connected
from tasks.publish.encoders import keep_encoders, log_encoders
from tasks.publish.lease import Lease, leased
from tasks.publish.lineage import make_origin
from tasks.publish.logged_model import stage_model
from tasks.publish.model_names import check_alias, check_model_name
from tasks.publish.registry import release_ref, why_not
from tasks.publish.trust import log_manifest
from tasks.publish.verify import DIFFERENT, VerifyRequest, verify_apart
from tasks.publish.version_page import describe_model, describe_version
from tasks.redaction import redact
from tasks.samples import Samples
from tasks.shared_files import share_blocks
from tasks.store import Store, digest_file

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

STEPS = 4


class PublishInputs(NamedTuple):
    """What the stages before this one made of one model."""

    verdict: Verdict
    checkpoint: CheckpointRef
    report: EvalReport
    valid: ValidatedRef
    features: dict[InputName, FeatureRef]
    start: ChampionRef | None = None
    """The model whose weights training tried."""
    sign_key: SecretBytes | None = None
    """The private key, in PEM, that the published files are signed with."""


@dataclass(frozen=True)
class Publication:
    """What is published, and where."""

    name: str
    verdict: Verdict
    checkpoint: CheckpointRef
    report: EvalReport
    valid: ValidatedRef
    features: dict[InputName, FeatureRef]
    start: ChampionRef | None
    sign_key: SecretBytes | None
    config: RunConfig
    store: Store
    tracking_uri: str
    run_id: str

    @property
    def folder(self) -> Path:
        """Where the checkpoint's files lie."""
        return self.store.path(self.checkpoint.uri)


def publish(inputs: PublishInputs, config: RunConfig, store: Store, tracking_uri: str, run_id: str) -> ReleaseRef:
    """The checkpoint is a verified version of the registry, and the alias `publish.alias` points to it.

    Under `gate.approval = "required"`, or where a rule asks for it, that alias stays: the version is pending, and `challenger`
    points to it.

    Raises PromotionRefused when the verdict is not a passing one of this store on this very model, when another model
    became champion since it was evaluated, or when this model was rolled back by hand; EnvironmentFailed when the
    published bytes do not reproduce the evaluation (the alias stays, the version is tagged as failed).
    """
    name = check_model_name(config.name)
    check_alias(config.publish.alias)
    job = Publication(name, *inputs, config, store, tracking_uri, run_id)
    require_passing(job)
    with store.work_dir("publish", name) as work, connected(store, tracking_uri) as client:
        _make_registered_model(client, name, describe_model(name, job.report, job.valid))
        with leased(client, name, store, work) as lease:
            return _publish(client, job, work, lease)


def _publish(client: MlflowClient, job: Publication, work: Path, lease: Lease) -> ReleaseRef:
    name, config, alias = job.name, job.config, job.config.publish.alias
    store, tracking_uri, run_id = job.store, job.tracking_uri, job.run_id
    require_same_champion(client, job)
    version = find_version(client, job)
    if version is None:
        progress.report("publish", 1, STEPS, "log")
        version = register(client, job, work)
    if versions.ROLLED_BACK in version.tags:
        raise PromotionRefused(
            f"model {name} version {version.version}: this very model was rolled back; bring it back with "
            f"crossmodal models promote {name} {version.version}"
        )
    require_not_rejected(version)
    current = versions.aliased_version(client, name, alias)
    is_champion = current is not None and current.version == version.version
    if (config.gate.approval == "required" or job.verdict.decision != "promote") and not is_champion:
        if why_not(version) is not None:
            progress.report("publish", 2, STEPS, "verify")
            verify_version(client, job, version, work)
        mark_pending(
            client, version, job.report, config.gate, tracking.started_ms(run_id) or version.creation_timestamp
        )
        progress.report("publish", STEPS, STEPS)
        return release_ref(versions.into_store(client, version, store, tracking_uri), CHALLENGER)
    if current is None or current.version != version.version or why_not(version) is not None:
        progress.report("publish", 2, STEPS, "verify")
        verify_version(client, job, version, work)
        require_same_champion(client, job)
        progress.report("publish", 3, STEPS, "promote")
        previous = None if current is None else str(current.version)
        if previous != str(version.version):
            move = Move(action="publish", version=str(version.version), previous=previous, run=run_id)
            move_alias(client, name, alias, move, lease)
    progress.report("publish", STEPS, STEPS)
    return release_ref(versions.into_store(client, version, store, tracking_uri), alias)


def require_passing(job: Publication) -> None:
    """Raises PromotionRefused unless the gate of this store passed this model on this report."""
    verdict = job.verdict
    open_ = {"needs-approval": {"needs-approval"}, "inconclusive": {"needs-approval", "inconclusive"}}
    accepted = {"pass", *open_.get(verdict.decision, ())}
    published = verdict.decision in ("promote", *waiting_verdicts(job.config.publish))
    if not published or not all(rule.outcome in accepted for rule in verdict.rules):
        raise PromotionRefused(
            f"model {job.name}: the verdict is {verdict.decision!r}, not 'promote' ({verdict.reason})"
        )
    if not verdict.model_sha256 == job.checkpoint.model_sha256 == job.report.model_sha256:
        raise PromotionRefused(
            f"model {job.name}: the verdict is on another model than the one to publish; run the gate again"
        )
    kind, _, key = verdict.uri.partition("/")
    found = job.store.find(kind, key)
    if found is None or Verdict.model_validate(found.ref) != verdict or job.report.sha256 not in verdict.parents:
        raise PromotionRefused(
            f"model {job.name}: the verdict {verdict.uri} is not the store's on this report; run the gate again"
        )
    require_chained(verdict, job.checkpoint, job.valid, job.store)
    if digest_file(job.folder / "model.safetensors") != job.checkpoint.model_sha256:
        raise EnvironmentFailed(
            f"checkpoint {job.checkpoint.uri}: model.safetensors is damaged; run crossmodal retrain again"
        )


def require_same_champion(client: MlflowClient, job: Publication) -> None:
    """Raises PromotionRefused when the champion is no longer the one that the candidate was compared with."""
    current = versions.aliased_version(client, job.name, job.config.publish.alias)
    sha256 = None if current is None else current.tags.get(versions.MODEL_SHA256)
    ours = [job.checkpoint.model_sha256, digest_file(job.folder / CARD)]
    itself = current is not None and [sha256, current.tags.get(versions.CARD_SHA256)] == ours
    if sha256 != job.report.champion_sha256 and not itself:
        compared = job.report.champion_version or "none"
        raise PromotionRefused(
            f"model {job.name}: the champion is now version {current.version if current else 'none'}, but the candidate was "
            f"compared with {compared}; run crossmodal retrain again"
        )


def find_version(client: MlflowClient, job: Publication) -> ModelVersion | None:
    """The newest version that promises these very files and has not failed its verification."""
    ours = [job.checkpoint.model_sha256, digest_file(job.folder / CARD)]
    for version in reversed(versions.all_versions(client, job.name)):
        files = [version.tags.get(tag) for tag in (versions.MODEL_SHA256, versions.CARD_SHA256)]
        if files == ours and version.tags.get(versions.STATUS) != "failed":
            return version
    return None


def register(client: MlflowClient, job: Publication, work: Path) -> ModelVersion:
    """The model's files and figures are in an MLflow run, and a new version points to them."""
    kept = keep_encoders(read_card(job.folder), job.store) if job.config.publish.include_encoders else {}
    rows, profile = work / ROWS, work / PROFILE
    describe_rows(job, rows, profile)
    tags = {
        versions.MODEL_SHA256: job.checkpoint.model_sha256,
        versions.CARD_SHA256: digest_file(job.folder / CARD),
        versions.ROWS_SHA256: digest_file(rows),
        versions.PROFILE_SHA256: digest_file(profile),
        versions.TRAIN_KEY: job.checkpoint.train_key,
        **({versions.BASE_KEY: job.checkpoint.base_key} if job.checkpoint.base_key else {}),
        versions.RUN: job.run_id,
        versions.DATA_SHA256: job.valid.sha256,
    }
    run = tracking.open_run(client, job.name, job.run_id, job.store, job.tracking_uri)
    tracking.log_figures(client, run, job.config, job.report, tags)
    chain = chain_of(job.verdict, job.store)
    compression, history = read_card(job.folder).compression, history_of(job.folder)
    card = write_card(job.checkpoint, job.report, job.verdict, job.valid, job.config, chain, compression, history)
    staged = work / versions.MODEL_FOLDER
    shutil.rmtree(staged, ignore_errors=True)  # what a killed process left
    stage_model(job.folder, card, (rows, profile), job.features, job.store, staged, job.config.publish.include_encoders)
    place = local_path(run.info.artifact_uri, job.tracking_uri)
    if place is not None:  # linked by an attempt that was killed: MLflow writes into what is there
        shutil.rmtree(place / versions.MODEL_FOLDER, ignore_errors=True)
    client.log_artifacts(run.info.run_id, str(staged), versions.MODEL_FOLDER)
    share_with_checkpoint(job, place)
    log_encoders(client, run, kept, f"{versions.MODEL_FOLDER}/{versions.ARTIFACT_FOLDER}", job.tracking_uri)
    shutil.rmtree(staged)
    client.set_terminated(run.info.run_id, "FINISHED")
    return client.create_model_version(
        job.name,
        source=f"{run.info.artifact_uri}/{versions.MODEL_FOLDER}",
        run_id=run.info.run_id,
        description=describe_version(job.name, job.config.publish.alias, job.verdict, job.report, job.valid),
        tags={
            **tags,
            **({versions.FROZEN: ",".join(kept)} if kept else {}),
            **({versions.ANCHOR: job.verdict.anchor} if job.verdict.anchor else {}),
            versions.ORIGIN: make_origin(),
            versions.VERDICT: job.verdict.decision,
            versions.EVIDENCE: f"{chain[0].uri} {chain[0].sha256}",
            versions.METRICS: json.dumps(job.report.metrics.get("test", {})),
            versions.STATUS: "registered",
        },
    )


def share_with_checkpoint(job: Publication, place: Path | None) -> None:
    """What is logged of the checkpoint's files takes no room of its own, where local files can share blocks."""
    if place is not None:
        folder = place / versions.MODEL_FOLDER / versions.ARTIFACT_FOLDER
        for name in (*versions.FILES, *read_card(job.folder).files_beside()):
            share_blocks(job.folder / name, folder / name)


def describe_rows(job: Publication, rows: Path, profile: Path) -> None:
    """The two files tell which rows the model was made with, and what new rows are compared with when it is monitored."""
    samples = Samples.read(job.store.path(job.valid.uri))
    record = history_of(job.folder).start
    is_continued = job.start is not None and record is not None and record.is_continued
    start = job.store.path(job.start.uri) if job.start is not None and is_continued else None
    write_rows(samples, rows, job.checkpoint.modalities, continued_from=start)
    train, held_out = samples.of_split("train"), samples.of_split("val", "test")
    media = job.valid.clean.media
    write_profile(profile_rows(train, held_out, media, job.features, job.folder, job.store), profile)


def verify_version(client: MlflowClient, job: Publication, version: ModelVersion, work: Path) -> None:
    """The published bytes were fetched anew and reproduce the evaluation in a fresh process; the version says so.

    Raises EnvironmentFailed otherwise. A proven difference marks the version as failed; so do files that cannot be
    fetched, because a version that lost them would block every later run. A verifying process that was killed or ran
    out of memory says nothing about the bytes: the next run verifies the same version again.
    """
    published = work / "published"
    shutil.rmtree(published, ignore_errors=True)
    published.mkdir()
    try:
        try:
            versions.download(client, version, published, job.store, job.tracking_uri)
            for sha256 in versions.encoders_of(version):
                versions.download_encoder(client, version, sha256, published / ENCODERS, job.store, job.tracking_uri)
        except EnvironmentFailed as error:
            _set_status(client, version, "failed", str(error))
            raise
        status, detail = run_verification(job, published, work)
        if status == DIFFERENT:
            message = (
                f"model {job.name} version {version.version}: the published files do not reproduce the evaluation ({detail}); "
                "the alias was not moved; run crossmodal retrain again"
            )
            _set_status(client, version, "failed", detail)
            raise EnvironmentFailed(message)
        if status != 0:
            raise EnvironmentFailed(
                f"model {job.name} version {version.version}: the verifying process ended with status {status} ({detail}); "
                "the alias was not moved; run crossmodal retrain again"
            )
        log_manifest(client, version, published, job.sign_key, job.store, job.tracking_uri)
        _set_status(client, version, "verified", detail)
    finally:
        shutil.rmtree(published, ignore_errors=True)


def run_verification(job: Publication, published: Path, work: Path) -> tuple[int, str]:
    """The exit status of a fresh process that compares the published files with the evaluation, and its last words."""
    request = VerifyRequest(
        folder=str(published),
        store=str(job.store.root),
        samples=job.valid.uri,
        predictions=f"{job.report.uri}/{PREDICTIONS}",
        features=job.features,
        rows=job.config.publish.verify_rows,
    )
    return verify_apart(request, work / "verify.log")


def _make_registered_model(client: MlflowClient, name: str, description: str) -> None:
    from mlflow.exceptions import MlflowException

    if client.search_registered_models(f"name='{name}'"):
        return
    try:
        client.create_registered_model(name, description=description)
    except MlflowException:
        if not client.search_registered_models(f"name='{name}'"):  # else: another run made it in between
            raise


def _set_status(client: MlflowClient, version: ModelVersion, status: str, detail: str) -> None:
    client.set_model_version_tag(version.name, str(version.version), versions.STATUS_DETAIL, redact(detail)[:1000])
    client.set_model_version_tag(version.name, str(version.version), versions.STATUS, status)
