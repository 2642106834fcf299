"""Aligned toy models, and many runs on them in batches of one width."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import jax
import numpy as np

from sims.forecasts.designs import FINE_TUNE, Design, Plan
from sims.forecasts.unroll import CLIP, Optimiser, Run, compiled, measuring
from sims.forecasts.world import Measured, Rows, World

WIDTH = 64
"""Runs of one call: one compiled program for each number of rows a step."""
OVERLAPS = (0.0, 0.03, 0.1, 0.3)
FEATURE_OVERLAPS = (0.2, 0.8)
_ALIGNMENT, _ALIGNING = Plan(300, 32, "adamw", "cosine", 1e-2), 1 << 30


@dataclass(frozen=True)
class Job:
    """One run: its plan, its optimiser, and the share of safety rows among its rows."""

    plan: Plan
    optimiser: Optimiser
    safety_share: float = 0.0
    draw: int = 0

    @classmethod
    def of(cls, plan: Plan, design: Design, steps: int, rows: int, draw: int) -> Job:
        """A coarse unroll of ``plan``; ``draw`` says which rows it sees."""
        return cls(plan, design.optimiser(plan, steps, rows), 0.0, draw)

    @classmethod
    def true(cls, plan: Plan, draw: int, safety_share: float = 0.0) -> Job:
        """The fine-tune itself."""
        optimiser = FINE_TUNE.optimiser(plan, plan.steps, plan.batch)
        return cls(plan, optimiser, safety_share, draw)


@dataclass(frozen=True, eq=False)
class Lab:
    """``n`` worlds with their aligned models ``start [n, d]`` and what these measure."""

    world: World
    rows: Rows
    start: np.ndarray
    key: jax.Array

    @classmethod
    def aligned(cls, seed: int, worlds: int, world: World | None = None) -> Lab:
        """Worlds of all overlaps in turn, each with a model that was trained to refuse."""
        world = World() if world is None else world
        rng = np.random.default_rng(seed)
        drawn = [
            world.rows(
                rng,
                overlap=OVERLAPS[i % len(OVERLAPS)],
                feature_overlap=FEATURE_OVERLAPS[i // len(OVERLAPS) % len(FEATURE_OVERLAPS)],
            )
            for i in range(worlds)
        ]
        rows = Rows(*map(np.stack, zip(*drawn, strict=True)))
        key = jax.random.key(seed)
        start = np.stack([world.start(jax.random.fold_in(key, i)) for i in range(worlds)])
        unaligned = cls(world, rows._replace(task=rows.aligning), start, key)
        plans = [replace(_ALIGNMENT, world=i) for i in range(worlds)]
        jobs = [Job.true(plan, draw=_ALIGNING) for plan in plans]
        ends = unaligned.ends(jobs, _ALIGNMENT.steps, _ALIGNMENT.batch)
        return cls(world, rows, ends, key)

    def ends(
        self,
        jobs: Sequence[Job],
        steps: int,
        batch: int,
        *,
        paired: bool = False,
        clip: float = CLIP,
    ) -> np.ndarray:
        """Weights ``[jobs, d]`` after ``steps`` steps of ``batch`` rows; paired: of either data."""
        program = compiled(self.world, batch, paired=paired, clip=clip)
        found = []
        for part, count in _chunks(jobs):
            worlds = np.array([job.plan.world for job in part])
            keys = jax.vmap(lambda i, j: jax.random.fold_in(jax.random.fold_in(self.key, i), j))(
                worlds, np.array([job.draw for job in part])
            )
            optimiser = Optimiser(
                *(np.array(column) for column in zip(*(job.optimiser for job in part), strict=True))
            )
            run = Run(
                start=self.start[worlds],
                rows=Rows(*(column[worlds] for column in self.rows)),
                optimiser=optimiser,
                safety_share=np.array([job.safety_share for job in part]),
                key=keys,
            )
            found.append(np.asarray(program(run, steps))[:count])
        return np.concatenate(found)

    def changes(self, plans: Sequence[Plan], theta: np.ndarray) -> Measured:
        """The changes ``[n]`` since the aligned models: safety loss, refusals, task loss."""
        worlds = np.array([plan.world for plan in plans])
        after, before = (self._measured(worlds, at) for at in (theta, self.start[worlds]))
        return Measured(*(a - b for a, b in zip(after, before, strict=True)))

    def _measured(self, worlds: np.ndarray, theta: np.ndarray) -> Measured:
        found = []
        for part, count in _chunks(range(len(worlds))):
            rows = Rows(*(column[worlds[part]] for column in self.rows))
            measures = measuring(self.world)(theta[part], rows)
            found.append([np.asarray(values)[:count] for values in measures])
        return Measured(*map(np.concatenate, zip(*found, strict=True)))


def _chunks(items: Sequence) -> list[tuple[list, int]]:
    """Parts of ``WIDTH``, the last one filled up, with how many of each count."""
    parts = [list(items[i : i + WIDTH]) for i in range(0, len(items), WIDTH)]
    return [(part + part[:1] * (WIDTH - len(part)), len(part)) for part in parts]
