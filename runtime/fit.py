"""The optimisation loop of the tokenizer and the decoder: AdamW with exact resume.

A run that was killed and called again ends with the same bits as one that was not: the checkpoint holds weights,
buffers (the codebook's running averages too), optimiser, step, torch's random state and the half-filled row of the
curve. For that, ``loss(step)`` must draw its data from the step and its randomness from torch's global generator.

With several ranks (`runtime.data_parallel`) DistributedDataParallel averages the gradients over them; ``loss`` then
gives each rank its own share of the batch, and only the main rank writes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict

import torch
import torch.distributed
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from .curve import Curve, RunningMeans
from .data_parallel import gather, num_ranks, rank
from .errors import UserError
from .fit_checkpoint import load_fit_checkpoint, save_fit_checkpoint
from .fit_config import FitConfig
from .stage import Run

LossFunction = Callable[[int], dict[str, Tensor]]


def fit(model: nn.Module, loss: LossFunction, config: FitConfig, run: Run, *, description: str) -> None:
    """Fit ``model`` in place for ``config.steps`` steps, going on from the checkpoint in ``run.folder`` if any.

    Args:
        model: its parameters that require gradients are fitted; its buffers are kept in the checkpoint.
        loss: from the step (0, 1, ...) to named scalar terms; ``"loss"`` is back-propagated, all are logged (those of
            the main rank).
        config: the options.
        run: its folder receives ``checkpoint/``, ``curve.jsonl`` and ``tensorboard/``.
        description: the name in front of the progress bar.

    Raises:
        UserError: more than ``config.max_bad_steps`` steps in a row were not finite.
    """
    torch.set_num_threads(config.threads)
    loop = FittingLoop(model, config, run)
    loop.resume()
    loss = synchronised_loss(model, loss)
    model.train()
    with run.progress(config.steps, description, start=loop.step, unit="step") as bar:
        while loop.step < config.steps:
            value = loop.advance(loss)
            bar.update(loss=value)
            if loop.step % config.checkpoint_every == 0 or loop.step == config.steps:
                loop.save()
    loop.curve.close()
    if loop.skipped:
        run.say(f"{description}: {loop.skipped} of {config.steps} steps were not finite and were skipped")


class LossModule(nn.Module):
    """A model with its loss as ``forward``, as DistributedDataParallel wants it.

    Only ``"loss"`` keeps its graph: a parameter that another term alone depends on takes no gradient.
    """

    def __init__(self, model: nn.Module, loss: LossFunction) -> None:
        super().__init__()
        self.model, self.loss = model, loss

    def forward(self, step: int) -> dict[str, Tensor]:
        """The terms of ``step``."""
        return {name: term if name == "loss" else term.detach() for name, term in self.loss(step).items()}


def synchronised_loss(model: nn.Module, loss: LossFunction) -> LossFunction:
    """``loss``, whose backward pass leaves the mean over the ranks in each gradient (one process: ``loss`` itself).

    Buffers are not broadcast: the tokenizer's codebook keeps its running averages equal by itself.
    """
    if num_ranks() == 1:
        return loss
    # Which parameters take a gradient changes from step to step (codebook, discriminators, conditions dropped).
    return DistributedDataParallel(LossModule(model, loss), broadcast_buffers=False, find_unused_parameters=True)


def learning_rate(config: FitConfig, step: int) -> float:
    """The learning rate of ``step``: a linear rise, then half a cosine down to ``final_learning_rate``."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    share = (step - config.warmup_steps) / max(1, config.steps - 1 - config.warmup_steps)
    fall = config.learning_rate - config.final_learning_rate
    return config.final_learning_rate + fall * 0.5 * (1 + math.cos(math.pi * min(1.0, share)))


class FittingLoop:
    """The state of one fit: model, optimiser, step, curve."""

    def __init__(self, model: nn.Module, config: FitConfig, run: Run) -> None:
        self.model, self.config, self.run = model, config, run
        self.parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.device = self.parameters[0].device
        self.optimizer = make_optimizer(self.parameters, config)
        self.means = RunningMeans()  # of the steps since the last row
        self.step = 0
        self.skipped = 0  # steps that were not finite, in all
        self.skipped_in_a_row = 0

    def advance(self, loss: LossFunction) -> float:
        """One step; returns its loss."""
        rate = learning_rate(self.config, self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.config.precision == "bf16"):
            terms = loss(self.step)
        self.optimizer.zero_grad(set_to_none=True)
        terms["loss"].backward()
        limit = self.config.clip_norm or math.inf
        norm = nn.utils.clip_grad_norm_([p for p in self.parameters if p.grad is not None], limit)
        if math.isfinite(float(norm)):
            self.optimizer.step()
            self.skipped_in_a_row = 0
        else:
            self._skip()
        self.step += 1
        values = {name: float(term.detach()) for name, term in terms.items()}
        self.means.add(values | {"gradient_norm": float(norm)})
        if self.step % self.config.log_every == 0 or self.step == self.config.steps:
            self.curve.add(self.step, self.means.take() | {"learning_rate": rate})
        return values["loss"]

    def _skip(self) -> None:
        self.skipped += 1
        self.skipped_in_a_row += 1
        if self.skipped_in_a_row > self.config.max_bad_steps:
            raise UserError(
                "the fit",
                found=f"loss or gradient was not finite for {self.skipped_in_a_row} steps up to step {self.step}",
                remedy="lower fit.learning_rate, lengthen fit.warmup_steps, or set fit.precision=fp32",
            )

    def save(self) -> None:
        """Write a checkpoint; all ranks call it together."""
        random = gather_states(torch.get_rng_state(), self.device)
        is_cuda = self.device.type == "cuda"
        random_cuda = gather_states(torch.cuda.get_rng_state(self.device), self.device) if is_cuda else None
        if not self.run.is_main:
            return
        folder = self.run.folder / "checkpoint"
        state = {
            "step": self.step,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "random": random,
            "random_cuda": random_cuda,
            "skipped": [self.skipped, self.skipped_in_a_row],
            "curve": asdict(self.means),
        }
        save_fit_checkpoint(folder, self.step, state)

    def resume(self) -> None:
        """Take up the newest whole checkpoint, if there is one.

        Raises:
            UserError: none of those there is whole, or it is beyond ``fit.steps``.
        """
        folder = self.run.folder / "checkpoint"
        state, skipped = load_fit_checkpoint(folder)
        for reason in skipped:
            self.run.say(f"skipped a checkpoint: {reason}")
        if torch.distributed.is_initialized():
            torch.distributed.barrier()  # no rank may write its first checkpoint before all have looked
        if state is None:
            self._open_curve()
            self.save()  # keeps the random state and the initial weights
            return
        self.step = int(state["step"])
        if self.step > self.config.steps:
            remedy = f"give at least fit.steps={self.step}, choose another out=, or begin anew with restart=true"
            raise UserError(
                "option fit.steps", found=f"{self.config.steps}, and a checkpoint of step {self.step}", remedy=remedy
            )
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(own_state(state["random"]))
        if state["random_cuda"] is not None and self.device.type == "cuda":
            torch.cuda.set_rng_state(own_state(state["random_cuda"]), self.device)
        self.skipped, self.skipped_in_a_row = state["skipped"]
        self.means = RunningMeans(**state["curve"])
        self._open_curve()

    def _open_curve(self) -> None:
        self.curve = Curve(self.run.folder, first_step=self.step, is_written=self.run.is_main, digits=6)


def gather_states(state: Tensor, device: torch.device) -> list[Tensor]:
    """The state of a random generator on each rank: the ranks draw differently often."""
    return [own.clone() for own in gather(state.to(device)).cpu()]  # torch takes no view as a state


def own_state(states: list[Tensor]) -> Tensor:
    """This rank's of the states in a checkpoint; the first where it was written by fewer ranks."""
    return states[rank()] if rank() < len(states) else states[0]


def make_optimizer(parameters: list[nn.Parameter], config: FitConfig) -> torch.optim.AdamW:
    """AdamW with weight decay on matrices only."""
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]], lr=config.learning_rate, betas=(0.9, config.beta2), fused=True
    )
