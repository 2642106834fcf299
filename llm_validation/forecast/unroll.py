"""T20: a fine-tune's forecast by the fine-tune itself in few, large steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from finebound.errors import InputError
from finebound.records import spawn_seed
from llm_validation.data.encoding import Encoded
from llm_validation.forecast.optimiser import Trajectory, displaced_by, train
from llm_validation.forecast.world import (
    FORWARD_ONLY,
    Intervals,
    Prediction,
    Role,
    World,
    check_finite,
    mean_tokens,
    prepared,
    total_tokens,
)
from llm_validation.measure.losses import Losses, measure_losses
from llm_validation.training.plan import SoftParameterConstraint, TrainingPlan
from llm_validation.training.streams import PROXY, TASK, Stream, Streams
from theory.unroll import displacement_law, interval, radius_correction, richardson

if TYPE_CHECKING:
    from llm_validation.measure.coordinates import Coordinates

ADAM_EXPONENT, SGD_EXPONENT = 2.0 / 3.0, 1.0
"""Of r ~ eta T^b where no step of the real rate is made: between a random walk and a line. For
AdamW as in T20's sketch; three runs of benchmarks/forecast.py would have matched r with 0.72 to
0.86, but steps so large leave the path more than the larger r is worth."""
EXPONENT_ERROR = 0.1
PATH_ERROR, PATH_FLOOR, PATH_ROWS = 0.15, 0.02, 40
"""Standard error of one coarse path over 40 rows, relative and in nats: about what T20's sketch
(docs/theorems.md) found on seven runs. Fewer rows are taken to have the root of so much more."""
SHORTER = 0.8
FISHER_ROWS = 16
_QUANTILE = 1.6449  # of a 90 % interval


@dataclass(frozen=True)
class CoarseUnroll:
    """``steps`` large steps of the plan's optimiser from theta_s on a fresh subsample.

    The rate follows the plan's schedule, times ``(T / K)^b``: the displacement then matches that
    of all T steps if it grows like ``T^b``. With ``probe_steps`` (2 or more) the law is fitted to
    so many steps of the real rate, and what is left between the reached and the expected
    displacement is corrected by the losses' slope along the ray to theta_s; else ``exponent``
    (default 2/3 for AdamW, 1 for SGD) stands for it. ``fine`` adds a path of 2K steps: its
    difference is the path's error, and ``extrapolate`` takes Richardson's value instead of its
    own: few rows leave noise in the path, whose share falls like 1/K as the steps' own error
    does. ``replicates`` repeats everything on other rows. ``rows_per_step`` lowers the plan's
    batches in proportion.

    The interval adds, as independent: the measured rows' sampling, the path, the exponent. An
    estimate of what usual errors are, not a guarantee. Computes in float32 whatever the plan's
    precision. Source: T20 of docs/theorems.md.
    """

    steps: int = 5
    rows_per_step: int | None = None
    safety_rows: int = 48
    task_rows: int = 24
    probe_steps: int = 0
    exponent: float | None = None
    fine: bool = False
    extrapolate: bool = False
    replicates: int = 1
    seed: int = 0
    name: str = "coarse unroll (T20)"

    @classmethod
    def within(cls, world: World, plan: TrainingPlan, *, share: float = 0.1) -> CoarseUnroll:
        """The best of these for ``share`` of the fine-tune's tokens, if rows are of mean length.

        Seven tenths go to training: five steps of the plan's batch, of fewer rows where that is
        too much; K and 2K steps, extrapolated, where two rows a stream and step can be paid for
        (K = 10 if they still can, else 5).
        The rest measures losses. Raises InputError for a fine-tune so short that not even two
        steps of one row a stream fit.
        """
        budget = share * world.finetune_tokens(plan)
        per_row = world.finetune_tokens(plan) / (plan.steps * plan.rows_per_step)
        rows = int(0.7 * budget / per_row)
        streams = 2 if plan.needs_proxy_rows else 1
        wide = plan.steps >= 2 * 10 and rows >= 3 * 10 * 2 * streams
        steps = min(10 if wide else 5, plan.steps, rows // streams)
        if steps < 2:
            raise InputError(
                f"{share:.0%} of a fine-tune of {plan.steps} steps pay for no forecast.",
                remedy="Allow a larger share, or run the fine-tune: it is short.",
            )
        fine = 2 * steps <= plan.steps and rows >= 3 * steps * 2 * streams
        per_step = min(plan.rows_per_step, rows // (3 * steps if fine else steps))
        left = budget - per_row * per_step * steps * (3 if fine else 1)
        # Before and after each path, at the price of a token that is only read.
        readable = left / ((3 if fine else 2) * FORWARD_ONLY)
        safety = max(2, int(0.65 * readable / mean_tokens(world.encoded("safety"))))
        task = max(2, int(0.35 * readable / mean_tokens(world.encoded(_measured(world)))))
        return cls(
            steps=steps,
            rows_per_step=per_step if per_step < plan.rows_per_step else None,
            safety_rows=safety,
            task_rows=task,
            fine=fine,
            extrapolate=fine,
        )

    def predict(self, world: World, plan: TrainingPlan) -> Prediction:
        """Raises InputError when the unroll diverges, ValueError for settings out of range."""
        self._check(plan)
        runs = [self._replicate(world, plan, r) for r in range(self.replicates)]
        both = np.array([[run.safety, run.task] for run in runs])
        errors = np.array([[run.safety_error, run.task_error] for run in runs])
        # What repetitions share does not shrink with their number, so it is not divided by it.
        spread = errors.mean(axis=0)
        bounds = []
        for i in range(2):
            half = _QUANTILE * float(spread[i])
            if self.replicates > 1:
                repeated = interval(both[:, i], new_run=True)
                half = max(half, repeated.upper - repeated.estimate)
            value = float(both[:, i].mean())
            bounds.append((value - half, value + half))
        safety, task = both.mean(axis=0)
        return Prediction(
            name=self.name,
            safety_change=check_finite(float(safety), "safety change"),
            task_change=check_finite(float(task), "task change"),
            interval_90=Intervals(*bounds),
            cost_tokens=sum(run.cost_tokens for run in runs),
            details={
                "displacement": float(np.mean([run.displacement for run in runs])),
                "expected_displacement": float(np.mean([run.target for run in runs])),
                "steps": float(self.steps),
                "safety_change_of_k_steps": float(np.mean([run.coarse_safety for run in runs])),
                "safety_sampling_error": float(np.mean([run.safety_sampling for run in runs])),
            },
        )

    def _check(self, plan: TrainingPlan) -> None:
        if self.steps < 1 or self.steps > plan.steps:
            raise ValueError(f"{self.steps} coarse steps for {plan.steps} real ones.")
        if self.probe_steps == 1 or self.probe_steps < 0 or self.replicates < 1:
            raise ValueError("probe_steps is 0 or at least 2, replicates at least 1.")
        if self.extrapolate and not self.fine:
            raise ValueError("extrapolate needs the fine path.")

    def _replicate(self, world: World, plan: TrainingPlan, number: int) -> _Replicate:
        """One repetition: its rows, its paths, their correction."""
        part = f"unroll {self.seed} {number}"
        steps = 2 * self.steps if self.fine else self.steps
        steps = min(max(steps, self.probe_steps), plan.steps)
        streams = _streams(world, self._narrowed(plan), steps, part)
        trained = {row.row for row in streams.task.encoded}
        watch = _Watch(world, part, self.safety_rows, self.task_rows, trained)
        cost = watch.cost_of_reading
        fisher = _fisher_rows(world, plan, part)
        exponent, target = self._exponent(plan), None
        if self.probe_steps:
            rates = plan.learning_rates()
            with prepared(world.model, plan) as (model, _):
                probe = train(
                    model,
                    plan,
                    streams,
                    rates[: self.probe_steps],
                    pad_id=world.pad_id,
                    fisher_rows=fisher,
                )
            counted = np.arange(1, self.probe_steps + 1)
            mean_rates = np.cumsum(rates[: self.probe_steps]) / counted
            law = displacement_law(probe.displacements, mean_rates, counted)
            exponent, target = law.exponent.estimate, float(rates.mean() * law(plan.steps))
            cost += probe.tokens
        ends = []
        for k in (self.steps, min(2 * self.steps, plan.steps))[: 2 if self.fine else 1]:
            with prepared(world.model, plan) as (model, coordinates):
                path = train(
                    model,
                    plan,
                    streams,
                    self._rates(plan, k, exponent),
                    pad_id=world.pad_id,
                    speed=plan.steps / k,
                    fisher_rows=fisher,
                )
                ends.append(_measured_end(model, coordinates, plan, path, watch, target))
            cost += path.tokens + ends[-1].cost_tokens
        return _combined(self, plan, ends, cost)

    def _exponent(self, plan: TrainingPlan) -> float:
        if self.exponent is not None:
            return self.exponent
        return ADAM_EXPONENT if plan.optimizer == "adamw" else SGD_EXPONENT

    def _narrowed(self, plan: TrainingPlan) -> TrainingPlan:
        """The plan with fewer rows a step, in its streams' proportion."""
        if self.rows_per_step is None or self.rows_per_step >= plan.rows_per_step:
            return plan
        task = round(self.rows_per_step * plan.batch_size / plan.rows_per_step)
        task = min(max(task, 1), max(self.rows_per_step - (1 if plan.needs_proxy_rows else 0), 1))
        proxy = max(self.rows_per_step - task, 1) if plan.needs_proxy_rows else None
        return replace(plan, batch_size=task, proxy_batch_size=proxy, gradient_accumulation=1)

    def _rates(self, plan: TrainingPlan, steps: int, exponent: float) -> np.ndarray:
        """Mean rates of ``steps`` blocks of the schedule times ``(T / K)^b``."""
        blocks = np.array([b.mean() for b in np.array_split(plan.learning_rates(), steps)])
        return blocks * (plan.steps / steps) ** exponent


@dataclass(frozen=True)
class _Replicate:
    safety: float
    task: float
    safety_error: float
    task_error: float
    safety_sampling: float
    coarse_safety: float
    displacement: float
    target: float
    cost_tokens: float


@dataclass(frozen=True)
class _End:
    """Where one path ended: changes of (safety, task), their errors and slopes in r."""

    changes: np.ndarray
    sampling: np.ndarray
    slopes: np.ndarray
    displacement: float
    target: float
    rows: int
    cost_tokens: float

    @property
    def corrected(self) -> np.ndarray:
        """The changes at the displacement that the real run is expected to reach."""
        if self.displacement == 0 or self.target == self.displacement:
            return self.changes
        return radius_correction(self.changes, self.slopes, self.displacement, self.target)


class _Watch:
    """The measured rows and their losses at theta_s."""

    def __init__(self, world: World, part: str, safety: int, task: int, trained: set[int]) -> None:
        role = _measured(world)
        rows = world.sample(role, len(world.encoded(role)), part=f"{part} measured")
        if role == "task":
            rows = [row for row in rows if row.row not in trained] or rows
        rng = np.random.default_rng(spawn_seed(world.seed, f"{part} measured"))
        kept = np.sort(rng.permutation(len(rows))[:task])
        self.rows = {
            # The same safety rows in every repetition and for every plan: differences are paired.
            "safety": world.sample("safety", safety, part="measured"),
            "task": [rows[i] for i in kept],
        }
        self.pad_id = world.pad_id
        roles: dict[str, Role] = {"safety": "safety", "task": role}
        self.start = {
            name: world.once(
                roles[name],
                ("start", world.max_length, tuple(row.row for row in encoded)),
                lambda encoded=encoded: self.losses(world.model.model, encoded),
            )
            for name, encoded in self.rows.items()
        }

    @property
    def cost_of_reading(self) -> float:
        """Of measuring all rows once."""
        return FORWARD_ONLY * sum(total_tokens(rows) for rows in self.rows.values())

    def losses(self, model: torch.nn.Module, encoded: Sequence[Encoded]) -> Losses:
        """Row losses under the weights as they are."""
        return measure_losses(model, encoded, pad_id=self.pad_id, tokens_per_batch=2048)

    def changes(self, model: torch.nn.Module) -> tuple[np.ndarray, np.ndarray]:
        """Changes of (safety, task) in nats per token, and their standard errors over rows."""
        pairs = [
            _paired(self.start[name], self.losses(model, rows)) for name, rows in self.rows.items()
        ]
        return np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs])


def _paired(start: Losses, end: Losses) -> tuple[float, float]:
    """The change of the mean token loss, and its standard error over rows (a ratio's)."""
    difference, count = end.token_sum - start.token_sum, start.token_count
    change = float(difference.sum() / count.sum())
    influence = (difference - change * count) / count.mean()
    n = len(count)
    return change, float(influence.std(ddof=1) / np.sqrt(n)) if n > 1 else np.inf


def _measured_end(
    model: torch.nn.Module,
    coordinates: Coordinates,
    plan: TrainingPlan,
    path: Trajectory,
    watch: _Watch,
    target: float | None,
) -> _End:
    changes, sampling = watch.changes(model)
    reached = float(path.displacements[-1])
    if target is None:
        target = reached
    if plan.radius is not None:
        target = min(target, plan.radius)
    cost = watch.cost_of_reading
    # Without a measured slope: the exponent 1.5, between a straight and a quadratic onset.
    slopes = 1.5 * changes / reached if reached else np.zeros(2)
    if reached and abs(target / reached - 1.0) > 0.02:
        with displaced_by(model, coordinates, path.start, SHORTER):
            shorter, _ = watch.changes(model)
        slopes = (changes - shorter) / ((1.0 - SHORTER) * reached)
        cost += watch.cost_of_reading
    return _End(changes, sampling, slopes, reached, target, path.rows, cost)


def _combined(
    unroll: CoarseUnroll,
    plan: TrainingPlan,
    ends: list[_End],
    cost: float,
) -> _Replicate:
    last = ends[-1]
    value = last.corrected
    scarce = np.sqrt(max(1.0, PATH_ROWS / last.rows))
    path_error = scarce * np.hypot(PATH_ERROR * value, PATH_FLOOR)
    if len(ends) == 2:
        first = ends[0].corrected
        path_error = np.hypot(value - first, scarce * PATH_FLOOR)
        if unroll.extrapolate:
            # The extrapolation takes the difference out; half of it may be wrong.
            path_error = np.hypot(0.5 * (value - first), scarce * PATH_FLOOR)
            value = richardson(first, value)
    if unroll.steps == plan.steps:
        path_error = np.zeros(2)
    stretched = plan.steps / min(unroll.steps * len(ends), plan.steps)
    relative = stretched**EXPONENT_ERROR - 1.0
    if plan.radius is not None and last.displacement >= 0.99 * plan.radius:
        relative = 0.0
    radius_error = np.abs(last.slopes) * last.target * relative
    error = np.sqrt(last.sampling**2 + path_error**2 + radius_error**2)
    return _Replicate(
        safety=float(value[0]),
        task=float(value[1]),
        safety_error=float(error[0]),
        task_error=float(error[1]),
        safety_sampling=float(last.sampling[0]),
        coarse_safety=float(ends[0].corrected[0]),
        displacement=last.displacement,
        target=last.target,
        cost_tokens=cost,
    )


def _streams(world: World, plan: TrainingPlan, steps: int, part: str) -> Streams:
    """A fresh subsample: as many rows as the steps can see."""

    def stream(role: Role, name: str, rows: int) -> Stream:
        encoded = world.sample(role, rows * steps, part=f"{part} {name}")
        return Stream(name, tuple(encoded), rows, spawn_seed(world.seed, part))

    task = stream("task", TASK, plan.batch_size)
    if not plan.needs_proxy_rows:
        return Streams(task)
    return Streams(task, stream("proxy", PROXY, plan.proxy_rows_per_step))


def _fisher_rows(world: World, plan: TrainingPlan, part: str) -> list[Encoded]:
    soft = plan.strategy
    if not (isinstance(soft, SoftParameterConstraint) and soft.fisher):
        return []
    return world.sample("proxy", FISHER_ROWS, part=f"{part} fisher")


def _measured(world: World) -> Role:
    return "task" if world.task_measured is None else "task_measured"
