"""The sweep: toy fine-tunes, and what every design of a coarse unroll forecasts of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from finebound.base.progress import Progress, silent
from sims.forecasts.designs import Design, Plan
from sims.forecasts.lab import Job, Lab
from sims.forecasts.world import Measured

DESIGNS = {
    "raised": Design(),
    "straight": Design(raised=False),
    "raised, planned moments": Design(scaled=False),
    "straight, planned moments": Design(raised=False, scaled=False),
    "raised to 0.25": Design(farthest=0.25),
    "raised to 1": Design(farthest=1.0),
}
OPTIMISERS = ("adamw", "sgd", "adamw", "momentum")
_RATES = {"adamw": (5e-5, 5e-3), "sgd": (2.5e-3, 2.5e-1), "momentum": (2.5e-4, 2.5e-2)}
_SCHEDULES = ("constant", "linear", "cosine")
# Only AdamW's rate is raised, and plain SGD has no memory.
_APPLIES = {
    "adamw": tuple(DESIGNS),
    "sgd": ("straight",),
    "momentum": ("straight", "straight, planned moments"),
}

_OTHER = 1 << 20  # from one fine-tune's rows to the next one's, by plan


@dataclass(frozen=True)
class Sizes:
    """How much is run. ``shapes``: (steps, batch) of the plans; ``plans`` each, half of AdamW.

    ``repeats``: fine-tunes of a plan whose mean is its truth; one more shows the noise. ``steps``
    and ``shares``: coarse unrolls of so many steps, and of as many steps as a share of the plan's
    rows allows, with each of ``rows`` rows a step and with the plan's own.
    """

    worlds: int = 64
    plans: int = 64
    shapes: tuple[tuple[int, int], ...] = (
        (128, 8), (64, 8), (32, 32), (64, 32), (256, 8), (512, 8), (128, 2), (256, 2), (512, 2),
    )  # fmt: skip
    repeats: int = 2
    steps: tuple[int, ...] = (2, 3, 5, 8, 16, 32)
    shares: tuple[float, ...] = (0.015, 0.03, 0.05, 0.08)
    rows: tuple[int, ...] = (1, 2, 4)

    def unrolls(self, steps: int, batch: int) -> list[tuple[int, int, float]]:
        """(steps, rows a step, share that chose the steps; 0 where none did) for a plan."""
        found = []
        for rows in sorted({*(r for r in self.rows if r < batch), batch}):
            given = [(k, rows, 0.0) for k in self.steps if k <= steps and k * rows < steps * batch]
            paid = [(int(s * steps * batch) // rows, rows, s) for s in self.shares]
            found += given + [(min(k, steps), rows, s) for k, rows, s in paid if k >= 2]
        return found


@dataclass(frozen=True, eq=False)
class Forecasts:
    """Coarse unrolls of ``steps`` steps of ``rows`` rows; ``[n]`` designs, plans and changes.

    ``design``: the design's place in ``DESIGNS``; ``plan``: the plan's among its shape's.
    """

    steps: int
    rows: int
    share: float
    design: np.ndarray
    plan: np.ndarray
    changes: Measured


@dataclass(frozen=True, eq=False)
class Swept:
    """Plans of one shape ``[n]``, what their fine-tunes changed, and the forecasts.

    ``truth`` is a mean over fine-tunes that differ in their rows, ``again`` another fine-tune.
    ``distance``: from the aligned weights to the fine-tuned ones, in lengths of the former.
    """

    plans: list[Plan]
    truth: Measured
    again: Measured
    distance: np.ndarray
    forecasts: list[Forecasts]


def drawn_plans(rng: np.random.Generator, sizes: Sizes, shape: tuple[int, int]) -> list[Plan]:
    """Plans of one shape with rates over two decades; of four, two are AdamW's."""
    plans = []
    for i in range(sizes.plans):
        optimiser = OPTIMISERS[i % len(OPTIMISERS)]
        rate = float(np.exp(rng.uniform(*np.log(_RATES[optimiser]))))
        schedule = _SCHEDULES[rng.integers(len(_SCHEDULES))]
        plans.append(Plan(*shape, optimiser, schedule, rate, int(rng.integers(sizes.worlds))))
    return plans


def sweep(lab: Lab, sizes: Sizes, seed: int, *, progress: Progress = silent) -> Iterator[Swept]:
    """Every shape's plans, fine-tuned and forecast; ``seed`` draws the plans."""
    rng = np.random.default_rng(seed)
    for shape in progress(sizes.shapes, "toy fine-tunes and their forecasts"):
        plans = drawn_plans(rng, sizes, shape)
        ends = repeated(lab, plans, sizes.repeats + 1)
        *first, again = (lab.changes(plans, end) for end in ends)
        start = lab.start[[plan.world for plan in plans]]
        yield Swept(
            plans,
            truth=mean(first),
            again=again,
            distance=np.linalg.norm(ends[0] - start, axis=1) / np.linalg.norm(start, axis=1),
            forecasts=[_forecast(lab, plans, *how) for how in sizes.unrolls(*shape)],
        )


def repeated(
    lab: Lab, plans: Sequence[Plan], times: int, *, safety_share: float = 0.0
) -> list[np.ndarray]:
    """Ends ``[n, d]`` of fine-tunes that differ in the rows that they see, ``times`` times.

    The plans' steps and batch are the same.
    """
    steps, batch = plans[0].steps, plans[0].batch
    return [
        lab.ends(
            [Job.true(p, _OTHER * (k + 1) + i, safety_share) for i, p in enumerate(plans)],
            *(steps, batch),
        )
        for k in range(times)
    ]


def mean(measures: Sequence[Measured]) -> Measured:
    """The mean of several measures, each ``[n]``."""
    return Measured(*(np.mean(columns, axis=0) for columns in zip(*measures, strict=True)))


def _forecast(lab: Lab, plans: Sequence[Plan], steps: int, rows: int, share: float) -> Forecasts:
    names = list(DESIGNS)
    chosen = [
        (names.index(name), i)
        for i, plan in enumerate(plans)
        for name in _APPLIES[plan.optimiser]
        # With the plan's own rows no rate is raised.
        if rows < plan.batch or not DESIGNS[name].raised
    ]
    jobs = [Job.of(plans[i], DESIGNS[names[design]], steps, rows, i) for design, i in chosen]
    design, plan = np.array(chosen).T
    changes = lab.changes([job.plan for job in jobs], lab.ends(jobs, steps, rows))
    return Forecasts(steps, rows, share, design, plan, changes)
