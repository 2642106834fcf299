"""What the end of this run will be, from its own first steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from transformers import PreTrainedModel, TrainerCallback, TrainerControl, TrainerState

from finebound.base.errors import InputError, tell
from llm_validation.callbacks.answers import (
    Answers,
    pad_id_of,
    read_answers,
    require_the_same_model,
    taken,
)
from llm_validation.callbacks.extrapolation import extrapolate
from llm_validation.callbacks.reporting import log
from theory.binary_divergence import kl_lower_inverse
from theory.bound import Status
from theory.confidence import Interval, check_probability
from theory.resampling import ratio_of_sums

_NAME = "forecast_ESTIMATED/"
_SO_FAR, _ERROR = _NAME + "so_far", _NAME + "so_far_standard_error"
_LOW, _HIGH = _NAME + "safety_loss_change_low", _NAME + "safety_loss_change_high"
_BETWEEN = (1 / 3, 2 / 3, 1.0)  # of a forecast's share: where the answers are read


@dataclass(frozen=True)
class Forecast:
    """The safety loss change at the end, nats per token, as it was seen after ``step`` steps.

    ``refusal_floor`` is T21's least share of refusals at this change, ``refusal_floor_low`` that
    at the interval's upper end.
    """

    step: int
    change: Interval
    refusal_floor: float
    refusal_floor_low: float
    status: Status = Status.ESTIMATED


class SafetyForecast(TrainerCallback):
    """After 3, 5 and 10 % of the steps: what this run will have done to safety when it ends.

    The rise of the loss on the stored answers to harmful probes is read at a few early steps and
    carried to the end along the learning rates that the schedule still has (``time^p``, T19). It
    is logged as ``forecast_ESTIMATED/safety_loss_change`` with ``_low`` and ``_high`` (nats per
    token, at ``level``), beside ``so_far``; by T21 it becomes ``refusal_rate_floor``, and
    ``refusal_rate_floor_low`` at the upper end. The interval holds noise and an unknown exponent;
    it has no failure probability. At the last step the measured change and whether each interval
    held it are logged (``measured``, ``held``). ``forecasts`` keeps them all.

    ``answers`` come from ``base_answers``. Raises InputError when the training starts from another
    model. Source: T19, T20 and T21 of docs/theorems.md.
    """

    def __init__(
        self, answers: Answers, *, at: Sequence[float] = (0.03, 0.05, 0.1), level: float = 0.9
    ) -> None:
        if not at or not all(0.0 < share < 1.0 for share in at):
            raise InputError(
                f"a forecast at {list(at)} of the training.",
                remedy="Give shares between 0 and 1, such as 0.1.",
            )
        check_probability(level)
        stored = read_answers(answers)
        self.answers = taken(stored, np.flatnonzero(stored.harmful))
        self.at, self.level = tuple(sorted(at)), level
        self.forecasts: list[Forecast] = []
        self._points: dict[int, tuple[float, float]] = {}  # step: rise and its standard error
        self._forecast_at: frozenset[int] = frozenset()
        self._read_at: frozenset[int] = frozenset()
        self._time = np.zeros(1)

    def on_train_begin(
        self,
        args: Any,
        state: TrainerState,
        control: TrainerControl,
        *,
        model: PreTrainedModel,
        lr_scheduler: Any,
        processing_class: Any = None,
        **_: Any,
    ) -> None:
        """Lay out the schedule's rates and the steps to read at."""
        steps = state.max_steps
        self._time = training_time(lr_scheduler, steps)
        self._forecast_at = frozenset(_step(share, steps) for share in self.at)
        read_at = {_step(share * part, steps) for share in self.at for part in _BETWEEN}
        self._read_at = frozenset({*read_at, steps})
        self._points = {
            int(e["step"]): (e[_SO_FAR], e[_ERROR]) for e in state.log_history if _SO_FAR in e
        }
        if state.global_step == 0:
            require_the_same_model(self.answers, model, pad_id=pad_id_of(processing_class))

    def on_step_end(
        self,
        args: Any,
        state: TrainerState,
        control: TrainerControl,
        *,
        model: PreTrainedModel,
        processing_class: Any = None,
        **_: Any,
    ) -> None:
        """Read the answers, and extrapolate where a forecast is due."""
        step = state.global_step
        if step not in self._read_at:
            return
        rise, error = self._rise(model, pad_id_of(processing_class))
        values = {_SO_FAR: rise, _ERROR: error}
        if step == state.max_steps:
            held = [e[_LOW] <= rise <= e[_HIGH] for e in state.log_history if _LOW in e]
            values[_NAME + "measured"] = rise
            if held:
                values[_NAME + "held"] = float(np.mean(held))
            log(control, values)
            return
        self._points[step] = rise, error
        if step in self._forecast_at and self._time[step] > 0.0:
            found = self._forecast(step)
            self.forecasts.append(found)
            values |= {
                _NAME + "safety_loss_change": found.change.estimate,
                _LOW: found.change.lower,
                _HIGH: found.change.upper,
                _NAME + "refusal_rate_floor": found.refusal_floor,
                _NAME + "refusal_rate_floor_low": found.refusal_floor_low,
            }
            if state.is_world_process_zero:
                tell(f"finebound: {_in_words(found, state.max_steps)}")
        log(control, values)

    def _rise(self, model: PreTrainedModel, pad_id: int) -> tuple[float, float]:
        """Nats per token by which the stored answers became less likely, and its error."""
        fall = self.answers.log_likelihood - self.answers.likelihoods(model, pad_id=pad_id)
        rise, influence = ratio_of_sums(fall, self._tokens)
        error = influence.std(ddof=1) / np.sqrt(len(fall)) if len(fall) > 1 else abs(rise)
        return rise, float(error)

    def _forecast(self, step: int) -> Forecast:
        steps = sorted(s for s in self._points if s <= step and self._time[s] > 0.0)
        rises, errors = zip(*(self._points[s] for s in steps), strict=True)
        change = extrapolate(
            self._time[steps], rises, errors, float(self._time[-1]), level=self.level
        )
        share, tokens = float(self.answers.refused.mean()), float(self._tokens.mean())
        floor, floor_low = (
            kl_lower_inverse(share, max(0.0, nats * tokens))
            for nats in (change.estimate, change.upper)
        )
        return Forecast(step, change, floor, floor_low)

    @property
    def _tokens(self) -> np.ndarray:
        return np.array([int(row.supervised.sum()) for row in self.answers.rows])


def training_time(lr_scheduler: Any, max_steps: int) -> np.ndarray:
    """Sums of the learning rates, as shares of the full rate, after 0 to ``max_steps`` steps.

    float64 ``[max_steps + 1]``. A scheduler that does not say its rates beforehand (one that waits
    for a plateau) counts as constant.
    """
    rates = getattr(lr_scheduler, "lr_lambdas", None)
    if rates is None:
        tell("finebound: the schedule does not say its rates beforehand; a constant is assumed.")
        return np.arange(max_steps + 1, dtype=np.float64)
    return np.append(0.0, np.cumsum([float(rates[0](step)) for step in range(max_steps)]))


def _step(share: float, steps: int) -> int:
    return max(1, round(share * steps))


def _in_words(found: Forecast, steps: int) -> str:
    change = found.change
    return (
        f"ESTIMATED after {found.step} of {steps} steps: at the end the model's own answers to "
        f"harmful probes will be {change.estimate:.2g} [{change.lower:.2g}, {change.upper:.2g}] "
        f"nats per token less likely, which leaves at least {100 * found.refusal_floor:.0f} % "
        f"refusals ({100 * found.refusal_floor_low:.0f} % at the upper end)."
    )
