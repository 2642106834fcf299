"""The reference model's losses: theta_s's own, measured once and kept in the run's folder.

With a LoRA (B = 0), IA3 or full weights the model is theta_s before the first step; virtual
tokens are taken away for the measurement.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from llm_validation.measure.losses import Losses
from llm_validation.training.constrained_sft import read_token_losses, write_token_losses
from llm_validation.training.evaluation import Evaluator, read_evaluations, write_evaluation
from llm_validation.training.record import TRAIN_TASK
from llm_validation.training.trainer import ConstraintTrainer

_TOKENS = "tokens.npz"


class Reference:
    """What the reference model loses on the run's rows. Make it before the first step."""

    def __init__(self, trainer: ConstraintTrainer, evaluator: Evaluator, folder: Path) -> None:
        self.trainer, self.evaluator, self.folder = trainer, evaluator, folder

    def losses(self, start: Mapping[str, Losses]) -> Mapping[str, Losses]:
        """Row losses of every set; ``start`` are those with what the method puts in place."""
        if not self.trainer.plan.method.virtual_tokens:
            return start
        if found := read_evaluations(self.folder, self.evaluator.kept).get(0):
            return found
        with self._alone():
            found = {name: self.evaluator.losses(name) for name in self.evaluator.sets}
        if self.trainer.is_world_process_zero():
            self.evaluator.keep(write_evaluation(self.folder, 0, found))
        return found

    def task_tokens(self) -> list[np.ndarray]:
        """The losses of every task row's supervised tokens, nats ``[tokens]``."""
        file = self.folder / _TOKENS
        if self.evaluator.kept(file) and (found := read_token_losses(file)) is not None:
            return found
        with self._alone():
            found = self.evaluator.token_losses(TRAIN_TASK)
        if self.trainer.is_world_process_zero():
            write_token_losses(file, found)
            self.evaluator.keep(file)
        return found

    @contextmanager
    def _alone(self) -> Iterator[None]:
        # All processes have looked for the file before one writes it.
        self.trainer.accelerator.wait_for_everyone()
        model: Any = self.trainer.model
        if not self.trainer.plan.method.virtual_tokens:
            yield
            return
        with model.disable_adapter():
            yield
        # PEFT puts its method back as an attribute, which would hide later changes.
        model.__dict__.pop("forward", None)
        model.__dict__.pop("prepare_inputs_for_generation", None)
