"""Plans of fine-tunes, and how a coarse unroll sets its rates and its memory from a plan."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from sims.forecasts.unroll import LONGEST, Optimiser

BETAS = (0.9, 0.999)
MOMENTUM = 0.9
FARTHEST_NOISE = 0.5
"""What the forecaster of ``llm_validation`` uses; a test compares."""


@dataclass(frozen=True)
class Plan:
    """A fine-tune of ``steps`` steps of ``batch`` rows; ``world`` is its world's number."""

    steps: int
    batch: int
    optimiser: Literal["adamw", "sgd", "momentum"]
    schedule: Literal["constant", "linear", "cosine"]
    rate: float
    world: int = 0

    def rates(self) -> np.ndarray:
        """The learning rate of every step ``[steps]``."""
        done = np.arange(self.steps) / self.steps
        shapes = {
            "constant": np.ones(self.steps),
            "linear": 1.0 - done,
            "cosine": 0.5 + 0.5 * np.cos(np.pi * done),
        }
        return self.rate * shapes[self.schedule]

    def shortened(self, share: float) -> Plan:
        """The same plan, schedule and all, in ``share`` of its steps."""
        return replace(self, steps=round(share * self.steps))


@dataclass(frozen=True)
class Design:
    """How a coarse unroll of K steps of m rows follows a plan of T steps of M rows.

    ``raised``: AdamW's rates, the schedule's block means times ``T / K``, are multiplied by
    ``sqrt(M / m)``, as far as noise alone does not lead ``farthest`` of the straight way.
    ``scaled``: betas and momentum are taken to the power ``T / K``, and SGD's rate keeps the sum
    of what a gradient moves. Otherwise they are the plan's.
    """

    raised: bool = True
    scaled: bool = True
    farthest: float = FARTHEST_NOISE

    def optimiser(self, plan: Plan, steps: int, rows: int) -> Optimiser:
        """The unroll's optimiser, its rates filled up with zeros to ``[LONGEST]``."""
        blocks = np.array([b.mean() for b in np.array_split(plan.rates(), steps)])
        speed = factor = plan.steps / steps
        power = speed if self.scaled else 1.0
        adam = plan.optimiser == "adamw"
        first, second = (beta**power for beta in BETAS)
        if adam and self.raised:
            wandering = self.farthest * plan.steps / steps**0.5
            factor = max(speed, min(speed * (plan.batch / rows) ** 0.5, wandering))
        if not adam:
            momentum = MOMENTUM if plan.optimiser == "momentum" else 0.0
            first = momentum**power
            factor *= (1.0 - first) / (1.0 - momentum)
        return Optimiser(_filled(blocks * factor), adam, first, second)


FINE_TUNE = Design(raised=False, scaled=False)
"""With the plan's own steps and rows: the fine-tune itself."""


def cut(optimiser: Optimiser, share: float) -> Optimiser:
    """The path as far as its summed rate is ``share`` of the whole; the last step is shortened."""
    before = np.cumsum(optimiser.rates) - optimiser.rates
    left = share * optimiser.rates.sum() - before
    return optimiser._replace(rates=np.clip(left, 0.0, optimiser.rates))


def _filled(rates: np.ndarray) -> np.ndarray:
    return np.concatenate([rates, np.zeros(LONGEST - len(rates))])
