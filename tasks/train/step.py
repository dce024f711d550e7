"""What one stage trains: the model as it is called, its optimizer, the running average, and a step of them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.lr_scheduler import LambdaLR

from tasks.config import TrainConfig
from tasks.modeling.contrastive import contrastive_loss
from tasks.modeling.fusion.classifier import FusedClassifier
from tasks.train.activation_checkpointing import recompute_blocks
from tasks.train.compiling import compile_encoder
from tasks.train.dataloader import TrainBatch
from tasks.train.divided import is_divided_model
from tasks.train.ema import update_ema
from tasks.train.finetuning import Stage, enter_training, freeze, parameter_groups
from tasks.train.losses import joint_loss
from tasks.train.optim import build_optimizer, rate_factor
from tasks.train.processes import Processes, like, whole
from tasks.train.state import Weights

if TYPE_CHECKING:
    from torch.distributed.fsdp import FSDPModule


@dataclass(frozen=True)
class StagePlan:
    """What one stage trains, and for how long."""

    stage: Stage
    trainable: frozenset[str]
    """Names of the tensors that are averaged and kept."""
    steps: int
    """Of the whole stage."""
    done: int = 0
    """Steps that an earlier run took, whose state `restore` puts back."""
    balance: Tensor | None = None
    """(outputs,) weights of classes and labels; None: all count alike."""


class TrainingStep:
    """A model set up for one stage."""

    def __init__(self, plain: FusedClassifier, config: TrainConfig, processes: Processes, plan: StagePlan) -> None:
        """The model is frozen, wrapped and given an optimizer as the stage has it."""
        self.plain, self.config, self.processes, self.balance = plain, config, processes, plan.balance
        freeze(plain, plan.stage, config)
        if config.gradient_checkpointing:
            recompute_blocks(plain)
        if config.compile:
            for encoder in plain.encoders.values():
                compile_encoder(encoder)
        before = {parameter: name for name, parameter in plain.named_parameters()}
        groups = parameter_groups(plain, config)  # before it is divided, and has other parameters and classes
        self.model: nn.Module = processes.wrap(plain)
        after = dict(plain.named_parameters())
        self.names: dict[Tensor, str] = {parameter: name for name, parameter in after.items()}
        groups = [group | {"params": [after[before[parameter]] for parameter in group["params"]]} for group in groups]
        self.optimizer = build_optimizer(groups)
        self.learning_rate = 0.0
        """Of the first group, in the latest step."""
        self.schedule = LambdaLR(
            self.optimizer, lambda step: rate_factor(step, plan.steps, config.warmup_ratio), last_epoch=plan.done - 1
        )
        self.trained = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        self.current: Weights = {name: tensor for name, tensor in plain.state_dict().items() if name in plan.trainable}
        self.ema_weights: Weights = self.current
        if config.ema_decay:
            self.ema_weights = {name: tensor.detach().clone() for name, tensor in self.current.items()}

    # -- the state ---

    def optimizer_tensors(self) -> dict[str, Weights]:
        """The optimizer's tensors by the name of their parameter, whole on the first process."""
        return {
            self.names[parameter]: {part: self.processes.collect(tensor) for part, tensor in parts.items()}
            for parameter, parts in self.optimizer.state.items()
        }

    def restore(self, optimizer: dict[str, Weights], ema_weights: Weights) -> None:
        """Puts back what `optimizer_tensors` and `ema_weights` were."""
        for parameter, name in self.names.items():
            if name in optimizer:
                # AdamW's counter lies on the CPU, but beside the parameter for the fused kernel.
                place = parameter.device if self.optimizer.defaults["fused"] else torch.device("cpu")
                self.optimizer.state[parameter] = {
                    part: tensor.to(place, copy=True) if part == "step" else like(tensor, parameter.detach())
                    for part, tensor in optimizer[name].items()
                }
        if self.config.ema_decay:
            self.ema_weights = {name: like(ema_weights[name], tensor) for name, tensor in self.current.items()}

    # -- a step ---

    def forget_gradients(self) -> None:
        """As before the step."""
        self.optimizer.zero_grad()

    def enter_training(self) -> None:
        """Training mode, frozen parts excepted."""
        self.model.train()
        enter_training(self.plain, self.config)

    def accumulate(self, feed: Iterator[TrainBatch]) -> tuple[Tensor, int]:
        """Adds up the gradients of one step; its loss on this process, and how many rows this process passed through."""
        total, rows = torch.zeros((), device=self.processes.device), 0
        for batch in feed:
            with self._undistributed() if not batch.microbatch.last else contextlib.nullcontext():
                loss = self._loss(batch)
                loss.backward()  # type: ignore[no-untyped-call]
            total, rows = total + loss.detach(), rows + len(batch.microbatch.rows)
            if batch.microbatch.last:
                return total, rows
        raise RuntimeError("a step ended before its last microbatch")

    def update(self) -> Tensor:
        """One step of the optimizer, the average and the schedule; the norm of the gradients before clipping."""
        for parameter in self.trained:
            if parameter.grad is None:  # no row of the step had its modality: its moments decay as with any other
                parameter.grad = torch.zeros_like(parameter)
        norm = whole(nn.utils.clip_grad_norm_(self.trained, self.config.max_grad_norm))
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.config.ema_decay:
            update_ema(self.ema_weights, self.current, self.schedule.last_epoch, self.config.ema_decay)
        self.learning_rate = float(self.optimizer.param_groups[0]["lr"])
        self.schedule.step()
        return norm

    def _loss(self, batch: TrainBatch) -> Tensor:
        """The weighted loss of a microbatch: the fused head's, with a teacher's, those of each modality's own head, and the
        contrastive one."""
        device = self.processes.device
        _seed_dropout(batch.microbatch.seed, device)
        with torch.autocast(device.type, torch.bfloat16, enabled=self.processes.bf16):
            output = self.model(batch.inputs, len(batch.weights), batch.hidden)
        balance, spread = self.balance, output.log_variances
        loss = joint_loss(output.logits, batch.soft, batch.weights, self.plain.targets, self.config, balance, spread)
        if batch.teacher is not None:
            loss = batch.teacher.blend(loss, output.logits, batch.weights, self.plain.targets)
            alike = batch.teacher.compare_features(output.fused)
            loss = loss if alike is None else loss + alike
        loss = loss * batch.microbatch.share
        shares = dict(zip(self.plain.modalities, batch.microbatch.shares.tolist(), strict=True))
        if self.config.unimodal_loss_weight:
            spread = None if spread is None else spread.detach()  # learned from the fused head only
            for name, logits in output.auxiliary.items():
                own = batch.inputs[name].rows
                soft, weights = batch.soft[own], batch.weights[own]
                part = joint_loss(logits, soft, weights, self.plain.targets, self.config, balance, spread)
                loss = loss + self.config.unimodal_loss_weight * shares[name] * part
        if self.config.contrastive_weight:
            vectors = {name: found for name, found in output.vectors.items() if shares[name]}  # no placeholder rows
            rows = {name: batch.inputs[name].rows for name in vectors}
            # Of a blend, the larger part; where there is no one label, a sample is aligned only with itself.
            labels = batch.soft.argmax(dim=1) if self.plain.targets.is_plain else None
            contrastive = contrastive_loss(vectors, rows, labels)
            loss = loss + self.config.contrastive_weight * batch.microbatch.share * contrastive
        return loss

    def _undistributed(self) -> AbstractContextManager[None]:
        """Gradients stay with this process: they are exchanged once a step."""
        if isinstance(self.model, DistributedDataParallel):
            return self.model.no_sync()  # type: ignore[no-any-return, unused-ignore]
        return _unsynced(self.model) if is_divided_model(self.model) else contextlib.nullcontext()


def _seed_dropout(seed: int, device: torch.device) -> None:
    """As torch.manual_seed, for one device: that formats a stack trace per call where CUDA has not been started."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)


@contextlib.contextmanager
def _unsynced(model: FSDPModule) -> Iterator[None]:
    model.set_requires_gradient_sync(False)
    try:
        yield
    finally:
        model.set_requires_gradient_sync(True)


def trainable_names(model: FusedClassifier, config: TrainConfig) -> frozenset[str]:
    """Names in the state dict of what any stage may change: trained parameters, and statistics of the layers they are in."""
    trained = {parameter for group in parameter_groups(model, config) for parameter in group["params"]}
    names = {name for name, parameter in model.named_parameters(remove_duplicate=False) if parameter in trained}
    for prefix, module in model.named_modules(remove_duplicate=False):
        inside = list(module.parameters())
        if not inside or any(parameter in trained for parameter in inside):
            names |= {f"{prefix}.{name}" if prefix else name for name, _ in module.named_buffers(recurse=False)}
    return frozenset(names & model.state_dict().keys())
