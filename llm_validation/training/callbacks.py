"""What happens between steps: dual ascent on lambda, measuring, stopping early, progress."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from finebound.base.progress import Progress
from llm_validation.measure.losses import Losses
from llm_validation.training.plan import EarlyStopping
from llm_validation.training.streams import Streams

if TYPE_CHECKING:
    from llm_validation.training.trainer import ConstraintTrainer

_LEAST_WORK = 20.0
"""Times that a save takes, to be trained before the next."""


class DualAscentCallback(TrainerCallback):
    """Keeps the proxy's loss within ``epsilon`` of its start by moving lambda.

    ``lam <- max(0, lam + rate * violation)`` after every step, where the violation compares the
    step's proxy rows with the same rows at the start (``start``, losses of all proxy rows): most
    of the noise of drawing rows is in both. Lambda follows from the log, so it survives a kill.
    """

    def __init__(self, streams: Streams, start: Losses, *, epsilon: float, rate: float) -> None:
        self.streams, self.start = streams, start
        self.epsilon, self.rate = epsilon, rate
        self.trainer: ConstraintTrainer  # set once it is there
        self.step: dict[str, float] = {}

    def on_train_begin(self, args, state: TrainerState, control, **_: Any) -> None:
        logged = [entry for entry in state.log_history if "violation" in entry]
        if logged:
            self._ascend(logged[-1]["lam"], logged[-1]["violation"])

    def on_step_end(self, args, state: TrainerState, control, **_: Any) -> None:
        assert self.streams.proxy is not None
        rows = self.streams.proxy.indices(state.global_step - 1)
        start = self.start.token_sum[rows].sum() / self.start.token_count[rows].sum()
        violation = self.trainer.step_record["proxy_loss"] - float(start) - self.epsilon
        self.step = {"violation": violation}
        self._ascend(self.trainer.lam, violation)

    def _ascend(self, lam: float, violation: float) -> None:
        self.trainer.lam = max(0.0, lam + self.rate * violation)


class EvaluationCallback(TrainerCallback):
    """Calls ``evaluate(step)`` after each of these steps."""

    def __init__(self, steps: Sequence[int], evaluate: Callable[[int], Any]) -> None:
        self.steps, self.evaluate = frozenset(steps), evaluate

    def on_step_end(self, args, state: TrainerState, control, **_: Any) -> None:
        if state.global_step in self.steps:
            self.evaluate(state.global_step)


class MonitorCallback(TrainerCallback):
    """Early stopping on a monitor's loss in nats per token; ``reason`` says why, if it stopped."""

    def __init__(self, rule: EarlyStopping, start: float, measure: Callable[[], float]) -> None:
        self.rule, self.start, self.measure = rule, start, measure
        self.checks: list[float] = []
        self.step: dict[str, float] = {}
        self.reason: str | None = None

    def on_train_begin(self, args, state: TrainerState, control, **_: Any) -> None:
        self.checks = [e["monitor_loss"] for e in state.log_history if "monitor_loss" in e]

    def on_step_end(self, args, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.step = {}
        if state.global_step % self.rule.every:
            return
        self.checks.append(self.measure())
        self.step = {"monitor_loss": self.checks[-1]}
        self.reason = self._verdict()
        if self.reason:
            control.should_training_stop = True
            # No checkpoint behind which a resumed run would go on.
            control.should_save = False

    def _verdict(self) -> str | None:
        if self.rule.max_rise is not None:
            rise = self.checks[-1] - self.start
            if rise <= self.rule.max_rise:
                return None
            return f"the loss on {self.rule.monitor} rose by {rise:.4g} nats per token"
        since = len(self.checks) - int(np.argmin([self.start, *self.checks]))
        if self.rule.patience is None or since < self.rule.patience:
            return None
        return f"no new best loss on {self.rule.monitor} in {since} checks"


class TimedCheckpointCallback(TrainerCallback):
    """Saves a checkpoint at the end of the step at which ``seconds`` have passed since the last.

    Where a save takes long they are fewer: a twentieth of the time at most goes into them.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds, self.clock = seconds, clock
        self._next = self._asked = 0.0

    def on_train_begin(self, args, state, control, **_: Any) -> None:
        self._next = self.clock() + self.seconds

    def on_step_end(self, args, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._asked = self.clock()
        if state.global_step < state.max_steps and self._is_time(args):
            control.should_save = True

    def on_save(self, args, state, control, **_: Any) -> None:
        now = self.clock()
        self._next = now + max(self.seconds, _LEAST_WORK * (now - self._asked))

    def _is_time(self, args: TrainingArguments) -> bool:
        """The first process's clock decides: all save a checkpoint together."""
        is_time = self._asked >= self._next
        if args.world_size > 1:
            told = torch.tensor([is_time], dtype=torch.uint8, device=args.device)
            torch.distributed.broadcast(told, 0)
            is_time = bool(told.item())
        return is_time


class ProgressCallback(TrainerCallback):
    """Shows the steps on a ``Progress``, those of an earlier start at once."""

    def __init__(self, progress: Progress, steps: int) -> None:
        self._items = iter(progress(range(steps), "fine-tuning"))
        self._shown = -1

    def _show(self, upto: int) -> None:
        while self._shown < upto:
            self._shown += 1
            next(self._items, None)

    def on_train_begin(self, args, state: TrainerState, control, **_: Any) -> None:
        self._show(state.global_step)

    def on_step_end(self, args, state: TrainerState, control, **_: Any) -> None:
        self._show(state.global_step)

    def on_train_end(self, args, state: TrainerState, control, **_: Any) -> None:
        self._show(state.max_steps)
