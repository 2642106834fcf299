"""What a strategy may put into a step besides the two cross-entropies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from torch import Tensor, nn

from finebound.base.progress import Progress, silent
from llm_validation.training.strategies import SubspacePenalty


class TaskLoss(Protocol):
    """A loss of the task's rows in place of their cross-entropy."""

    extras: int
    """How many further sums are recorded."""

    def units(self, pairs: int, tokens: int) -> int:
        """What a step's loss is a mean over: its task rows or their supervised tokens."""
        ...

    def __call__(
        self, losses: Tensor, inputs: Mapping[str, Tensor]
    ) -> tuple[Tensor, Sequence[Tensor]]:
        """A micro-batch's sum with its gradient, and the further sums, from token losses ``[m]``.

        A micro-batch may hold no row of the task.
        """
        ...

    def record(
        self, mean: float, extras: Sequence[float], *, units: int, tokens: int
    ) -> dict[str, float]:
        """The step's columns, ``task_loss`` among them, from the loss and the further sums."""
        ...


class Penalty(Protocol):
    """A function of the weights that is added to the objective."""

    def add_gradient(self) -> Tensor:
        """Add the penalty's gradient to the parameters' gradients; its value, float64 scalar."""
        ...


class AlignmentPair(Protocol):
    """The models before and after an alignment, for a ``SubspacePenalty``."""

    @property
    def identity(self) -> Mapping[str, str]:
        """What identifies both models' weights in a run's record."""
        ...

    def penalty(
        self, model: nn.Module, strategy: SubspacePenalty, *, progress: Progress = silent
    ) -> Penalty:
        """The penalty on ``model``, which is the aligned one with a LoRA attached.

        Raises InputError when it is another model.
        """
        ...
