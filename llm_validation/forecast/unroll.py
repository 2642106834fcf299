"""T20: a fine-tune's forecast by the fine-tune itself in fewer, larger steps of fewer rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
from transformers import PreTrainedModel

from finebound.base.errors import InputError
from finebound.base.progress import Progress, silent
from finebound.base.records import spawn_seed
from finebound.results.forecasts import Interval90, Prediction
from llm_validation.data.encoding import Encoded
from llm_validation.forecast.optimiser import AfterStep, Trajectory, ignored, train
from llm_validation.forecast.world import (
    FORWARD_ONLY,
    Role,
    World,
    check_finite,
    mean_tokens,
    prepared,
    total_tokens,
)
from llm_validation.measure.losses import Losses, measure_losses
from llm_validation.models.memory import require_memory
from llm_validation.training.dpo import PairStream, log_ratio
from llm_validation.training.plan import FullWeights, SoftParameterConstraint, TrainingPlan
from llm_validation.training.streams import PROXY, TASK, Stream, Streams
from theory.resampling import ratio_of_sums

TRAINING_SHARE = 0.7
"""Of what a forecast may cost, the part that trains; the rest measures losses."""
FARTHEST_NOISE = 0.5
"""Of the straight line through all of a plan's steps, what a path of pure noise may go at most."""
EXPONENT_ERROR = 0.1
PATH_ERROR, PATH_FLOOR, PATH_ROWS = 0.5, 0.03, 40
"""Standard error of a path over 40 rows, relative and in nats: about what two fine-tunes of 128
steps showed, which are in no grid. Fewer rows are taken to have the root of so much more."""
FISHER_ROWS = 16
_QUANTILE = 1.6449  # of a 90 % interval


@dataclass(frozen=True)
class CoarseUnroll:
    """``steps`` steps of the plan's optimiser from theta_s on a fresh subsample.

    With K of T steps, of m rows where the plan's have M, the rate follows the plan's schedule
    times ``T / K``, and AdamW's moments forget ``T / K`` times as fast. Its steps have the length
    of the rate whatever the rows say, and of that, while noise dominates, ``sqrt(m)`` is the
    direction that all rows share: the rate is raised by ``sqrt(M / m)`` besides, as far as noise
    alone does not lead half as far as a straight fine-tune would. SGD's momentum forgets as much
    faster, and the rate keeps how far a gradient leads in the end. For a given
    number of rows, small steps of one row each end closer to the fine-tune than few steps of many
    (``within``): the path follows the loss, and a later row corrects an earlier one. In DPO a row
    is a pair, and theta_s is its reference.

    The interval adds, as independent: the measured rows' sampling, the path, the displacement. An
    estimate of what usual errors are, not a guarantee. Virtual tokens start elsewhere than at
    theta_s: that change is measured, and the path's error is of what follows it. Computes in
    float32 whatever the plan's precision, a QLoRA on the base in full precision. Source: T20 of
    docs/theorems.md.
    """

    steps: int = 5
    rows_per_step: int | None = None
    safety_rows: int = 48
    task_rows: int = 24
    seed: int = 0
    name: str = "coarse unroll (T20)"

    @classmethod
    def within(cls, world: World, plan: TrainingPlan, *, share: float = 0.1) -> CoarseUnroll:
        """What ``share`` of the fine-tune's tokens pay for: steps of one row a stream.

        Seven tenths go to training; more steps than the plan has become steps of more rows. The
        rest measures losses. Raises InputError for a fine-tune so short that not even two steps
        of one row a stream fit.
        """
        budget = share * world.finetune_tokens(plan)
        per_row = world.finetune_tokens(plan) / (plan.steps * plan.rows_per_step)
        rows = int(TRAINING_SHARE * budget / per_row)
        streams = 2 if plan.needs_proxy_rows else 1
        steps = min(plan.steps, rows // streams)
        if steps < 2:
            raise InputError(
                f"{share:.0%} of a fine-tune of {plan.steps} steps pay for no forecast.",
                remedy="Allow a larger share, or run the fine-tune: it is short.",
            )
        per_step = min(plan.rows_per_step, rows // steps)
        # Before and after the path, at the price of a token that is only read.
        readable = (budget - per_row * per_step * steps) / (2 * FORWARD_ONLY)
        safety = max(2, int(0.65 * readable / mean_tokens(world.encoded("safety"))))
        task = max(2, int(0.35 * readable / mean_tokens(world.encoded(_measured(world)))))
        return cls(
            steps=steps,
            rows_per_step=per_step if per_step < plan.rows_per_step else None,
            safety_rows=safety,
            task_rows=task,
        )

    def predict(self, world: World, plan: TrainingPlan) -> Prediction:
        """Raises InputError when the unroll diverges, ValueError for settings out of range."""
        trained = {row.row for row in self.streams(world, plan).task.encoded}
        watch = _Watch(world, self._part, self.safety_rows, self.task_rows, trained)
        begun, readings = np.zeros(2), 2
        if plan.method.virtual_tokens:
            readings += 1
            with prepared(world.model, plan) as (model, _):
                begun, _ = watch.changes(model)
        with self.unrolled(world, plan) as (model, path):
            changes, sampling = watch.changes(model)
        halves = _QUANTILE * self._errors(plan, path, changes - begun, sampling)
        bounds = list(zip(changes - halves, changes + halves, strict=True))
        safety, task = ((float(low), float(high)) for low, high in bounds)
        return Prediction(
            name=self.name,
            safety_change=check_finite(float(changes[0]), "safety change"),
            task_change=check_finite(float(changes[1]), "task change"),
            interval_90=Interval90(safety=safety, task=task),
            cost_tokens=path.tokens + readings * watch.cost_of_reading,
            is_score=False,
            details={
                "displacement": float(path.displacements[-1]),
                "steps": float(self.steps),
                "rows": float(path.rows),
                "safety_sampling_error": float(sampling[0]),
            },
            # The safety rows at theta_s are the same for every plan.
            shared_tokens={"safety": FORWARD_ONLY * total_tokens(watch.rows["safety"])},
        )

    @contextmanager
    def unrolled(
        self,
        world: World,
        plan: TrainingPlan,
        *,
        after_step: AfterStep = ignored,
        progress: Progress = silent,
    ) -> Iterator[tuple[PreTrainedModel, Trajectory]]:
        """The model after the coarse steps, and their path; afterwards the weights are as before.

        ``after_step`` may look at the model after each.
        Raises as ``predict``.
        """
        streams = self.streams(world, plan)
        _require_room(world, plan)
        with prepared(world.model, plan) as (model, _):
            path = train(
                model,
                self._narrowed(plan),
                streams,
                self.rates(plan),
                pad_id=world.pad_id,
                speed=plan.steps / self.steps,
                fisher_rows=_fisher_rows(world, plan, self._part),
                after_step=after_step,
                progress=progress,
            )
            yield model, path

    def streams(self, world: World, plan: TrainingPlan) -> Streams:
        """A fresh subsample: as many rows as the steps can see. ValueError: steps out of range."""
        if self.steps < 1 or self.steps > plan.steps:
            raise ValueError(f"{self.steps} coarse steps for {plan.steps} real ones.")
        return _streams(world, self._narrowed(plan), self.steps, self._part)

    @property
    def _part(self) -> str:
        return f"unroll {self.seed}"

    def rates(self, plan: TrainingPlan) -> np.ndarray:
        """Learning rates ``[K]``: means of the schedule's blocks, raised as above."""
        blocks = np.array([b.mean() for b in np.array_split(plan.learning_rates(), self.steps)])
        straight = raised = plan.steps / self.steps
        if plan.optimizer == "adamw":
            raised *= (plan.rows_per_step / self._narrowed(plan).rows_per_step) ** 0.5
            wandering = FARTHEST_NOISE * plan.steps / self.steps**0.5
            raised = max(straight, min(raised, wandering))
        momentum = self._narrowed(plan).momentum
        return blocks * raised * (1.0 - momentum) / (1.0 - plan.momentum)

    def _narrowed(self, plan: TrainingPlan) -> TrainingPlan:
        """The plan with fewer rows a step, in its streams' proportion, and shorter memory."""
        speed = plan.steps / self.steps
        plan = replace(
            plan,
            betas=tuple(beta**speed for beta in plan.betas),
            momentum=plan.momentum**speed,
        )
        if self.rows_per_step is None or self.rows_per_step >= plan.rows_per_step:
            return plan
        task = round(self.rows_per_step * plan.batch_size / plan.rows_per_step)
        task = min(max(task, 1), max(self.rows_per_step - (1 if plan.needs_proxy_rows else 0), 1))
        proxy = max(self.rows_per_step - task, 1) if plan.needs_proxy_rows else None
        return replace(plan, batch_size=task, proxy_batch_size=proxy, gradient_accumulation=1)

    def _errors(
        self, plan: TrainingPlan, path: Trajectory, changes: np.ndarray, sampling: np.ndarray
    ) -> np.ndarray:
        """Standard errors of both changes ``[2]`` since the first step, nats."""
        if self.steps == plan.steps and self.rows_per_step is None:
            return sampling
        stretched = (plan.steps / self.steps) ** EXPONENT_ERROR - 1.0
        if plan.radius is not None and path.displacements[-1] >= 0.99 * plan.radius:
            stretched = 0.0
        # The exponent 1.5 in r lies between a straight and a quadratic onset.
        displacement_error = 1.5 * np.abs(changes) * stretched
        path_errors = path_error(changes, path.rows)
        return np.sqrt(sampling**2 + path_errors**2 + displacement_error**2)


def path_error(
    change: np.ndarray | float, rows: int, *, floor: float = PATH_FLOOR
) -> np.ndarray | float:
    """Standard error of what an unroll over ``rows`` rows changed, in the unit of the change."""
    return np.sqrt(max(1.0, PATH_ROWS / rows)) * np.hypot(PATH_ERROR * change, floor)


def _require_room(world: World, plan: TrainingPlan) -> None:
    """Raises NeedsMemory where training all weights for a moment does not fit."""
    if not isinstance(plan.method, FullWeights):
        return
    weights = list(world.model.model.parameters())
    size = sum(p.numel() * p.element_size() for p in weights)
    require_memory(
        # A copy, the start, a gradient, the optimiser's moments.
        size * (5 if plan.optimizer == "adamw" else 4),
        "a coarse fine-tune of all weights",
        device=weights[0].device,
        remedy="Forecast a LoRA fine-tune, or allow more `memory`.",
    )


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

    def losses(self, model: PreTrainedModel, encoded: Sequence[Encoded]) -> Losses:
        """Row losses under the weights as they are."""
        return measure_losses(model, encoded, pad_id=self.pad_id, tokens_per_batch=2048)

    def changes(self, model: PreTrainedModel) -> tuple[np.ndarray, np.ndarray]:
        """Changes of (safety, task) in nats per token, and their standard errors over rows."""
        pairs = [
            _paired(self.start[name], self.losses(model, rows)) for name, rows in self.rows.items()
        ]
        return np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs])


def _paired(start: Losses, end: Losses) -> tuple[float, float]:
    """The change of the mean token loss, and its standard error over rows (a ratio's)."""
    change, influence = ratio_of_sums(end.token_sum - start.token_sum, start.token_count)
    n = len(influence)
    return change, float(influence.std(ddof=1) / np.sqrt(n)) if n > 1 else np.inf


def _streams(world: World, plan: TrainingPlan, steps: int, part: str) -> Streams:
    def stream(role: Role, name: str, rows: int) -> Stream:
        encoded = world.sample(role, rows * steps, part=f"{part} {name}")
        return Stream(name, tuple(encoded), rows, spawn_seed(world.seed, part))

    if plan.objective is None:
        task = stream("task", TASK, plan.batch_size)
    else:
        task = _pairs(world, plan, steps, part)
    if not plan.needs_proxy_rows:
        return Streams(task)
    return Streams(task, stream("proxy", PROXY, plan.proxy_rows_per_step))


def _pairs(world: World, plan: TrainingPlan, steps: int, part: str) -> PairStream:
    """Pairs and their reference, which is theta_s: measured once, before anything is attached."""
    sides = world.sample_pairs(plan.batch_size * steps, part=f"{part} {TASK}")

    def measured() -> np.ndarray:
        model = world.model.model
        return log_ratio(
            *(
                measure_losses(model, side, pad_id=world.pad_id, tokens_per_batch=2048)
                for side in sides
            )
        )

    chosen, rejected = map(tuple, sides)
    about = ("reference", world.max_length, tuple(row.row for row in chosen))
    return PairStream(
        *(TASK, chosen, plan.batch_size, spawn_seed(world.seed, part)),
        rejected=rejected,
        reference=world.once("task", about, measured),
    )


def _fisher_rows(world: World, plan: TrainingPlan, part: str) -> list[Encoded]:
    soft = plan.strategy
    if not (isinstance(soft, SoftParameterConstraint) and soft.fisher):
        return []
    return world.sample("proxy", FISHER_ROWS, part=f"{part} fisher")


def _measured(world: World) -> Role:
    return "task" if world.task_measured is None else "task_measured"
