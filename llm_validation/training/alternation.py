"""Lisa: steps on the proxy's rows and on the task's take turns, each held near the other's end."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import TrainerCallback, TrainerState

from finebound.base.errors import InputError
from llm_validation.training.strategies import BiState
from llm_validation.training.streams import StepRow, Streams, longest_first

_OTHER = "other-state.safetensors"


@dataclass(frozen=True)
class AlternatingStreams(Streams):
    """One stream a step: a state goes on where its last step stopped, so no row is skipped."""

    states: BiState = field(kw_only=True)

    def rows(self, step: int) -> list[StepRow]:
        """Every row of a step, all of one stream, longest first."""
        aligning, before = self.states.state_at(step)
        assert self.proxy is not None  # the plan asks for one
        stream = self.proxy if aligning else self.task
        return longest_first(stream.row(int(index)) for index in stream.indices(before))


class ProximalTerm(TrainerCallback):
    """``rho / 2 |w - w_other|^2`` over the trained numbers (for LoRA those of its factors).

    A state begins where the other one ended, so w_other is where the present state began; it is
    kept in every checkpoint. Make it before training starts.
    """

    def __init__(self, model: nn.Module, states: BiState) -> None:
        self.states = states
        self._bind(model)
        self._keep()

    def on_train_begin(self, args, state, control, *, model: nn.Module, **_: Any) -> None:
        self._bind(model)

    def on_step_begin(self, args, state: TrainerState, control, **_: Any) -> None:
        if self.states.begins_at(state.global_step):
            self._keep()

    def _bind(self, model: nn.Module) -> None:
        self._trained = {name: p for name, p in model.named_parameters() if p.requires_grad}

    def _keep(self) -> None:
        self.other = {name: p.detach().clone() for name, p in self._trained.items()}

    @torch.no_grad()
    def add_gradient(self) -> Tensor:
        """Add the term's gradient to the parameters' gradients; its value, float64 scalar."""
        squares = []
        for name, p in self._trained.items():
            change = p - self.other[name]
            squares.append(change.square().sum(dtype=torch.float64))
            if p.grad is not None:
                p.grad.add_(change, alpha=self.states.rho)
        return 0.5 * self.states.rho * torch.stack(squares).sum()

    def save(self, folder: Path) -> None:
        """Write w_other into a checkpoint's folder."""
        save_file({name: t.contiguous() for name, t in self.other.items()}, folder / _OTHER)

    def load(self, folder: Path) -> None:
        """Read w_other from a checkpoint's folder. Raises InputError when it is not there."""
        file = folder / _OTHER
        saved = load_file(file) if file.is_file() else {}
        if saved.keys() != self._trained.keys():
            raise InputError(
                "the checkpoint does not hold the weights of Lisa's other state.",
                remedy="Remove the checkpoint: the run goes on at the one before.",
                file=file,
            )
        self.other = {name: saved[name].to(p.device) for name, p in self._trained.items()}
