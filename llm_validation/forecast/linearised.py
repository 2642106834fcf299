"""T16: a fine-tune's forecast from the gradients of a few examples, without any training."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations

import numpy as np
import torch
from torch import Tensor

from finebound.base.errors import InputError
from finebound.results.forecasts import Interval90, Prediction
from llm_validation.forecast.gradient_rows import (
    GradientRows,
    WeightMetric,
    chunks,
    gradient_rows,
    weight_metric,
)
from llm_validation.forecast.world import (
    Role,
    World,
    check_finite,
    lam_of,
)
from llm_validation.training.plan import SoftParameterConstraint, TrainingPlan
from theory.forecast import Kernel, Population, forecast
from theory.onset import Descent, Flow
from theory.unroll import interval

_ADAM_EPS = 1e-8
FOLDS = 3
_CHANGES: tuple[Role, ...] = ("safety", "task")


@dataclass(frozen=True)
class Linearised:
    """T16 on ``rows`` examples of each dataset, in the coordinates that the plan trains.

    Case I and no constraint: ``plan.steps`` steps of its learning rates on the quadratic model.
    Case II and hybrid: where those end outside the radius, their step shortened to it.
    AdamW is a flow preconditioned by ``1 / sqrt(v)``, v the second moment of a mini-batch's
    gradient at theta_s, which stays there: descent would diverge at rates where AdamW does not,
    for its v grows with the gradients. SGD is descent.

    Gradients of few rows are mostly noise, and noise that moves the weights and measures the
    result at once would be counted twice. So the rows are cut into three folds: two move (the
    curvature term is their product, which is free of the noise of either), the third measures;
    the mean over the six orders is the forecast. The noise of the fine-tune's own mini-batches is
    added back as ``1/2 tr(H S)`` of a random walk, to the displacement too. The interval is
    Student's over the three measuring folds: it knows nothing of the linearisation's error. Left
    out: weight decay, the movement of a LoRA's A, a change of v, clipping under AdamW, turning
    along the radius. Source: T16 of docs/theorems.md.
    """

    rows: int = 12
    name: str = "linearised (T16)"

    def predict(self, world: World, plan: TrainingPlan) -> Prediction:
        """Raises InputError for the epsilon form, a soft constraint, and fewer than 3 rows."""
        if isinstance(plan.strategy, SoftParameterConstraint):
            raise InputError(
                "the linearised forecast knows no soft parameter constraint.",
                remedy="Give a radius, or forecast by the coarse unroll.",
            )
        lam = lam_of(plan)
        roles: list[Role] = ["safety", "task"]
        if lam:
            roles.append("proxy")
        found: dict[Role, GradientRows] = {
            role: gradient_rows(world, plan, role, self.rows) for role in roles
        }
        system = _System(found, plan, lam, weight_metric(world, plan))
        samples = [system.forecast(order) for order in permutations(range(FOLDS))]
        # Orders that share the measuring fold are one repetition.
        folds = np.array(samples).reshape(FOLDS, 2, 3).mean(axis=1)
        safety, task = (interval(folds[:, i], 0.9) for i in range(2))
        return Prediction(
            name=self.name,
            safety_change=check_finite(safety.estimate, "safety change"),
            task_change=check_finite(task.estimate, "task change"),
            interval_90=Interval90(
                safety=(safety.lower, safety.upper), task=(task.lower, task.upper)
            ),
            cost_tokens=sum(rows.cost_tokens for rows in found.values()),
            is_score=False,
            details={
                "displacement": float(folds[:, 2].mean()),
                "rows": float(sum(len(rows.given) for rows in found.values())),
            },
            shared_tokens={role: rows.cost_tokens for role, rows in found.items()},
        )


class _System:
    """The kernel of a plan's rows in preconditioned coordinates, and its folds."""

    def __init__(
        self,
        found: dict[Role, GradientRows],
        plan: TrainingPlan,
        lam: float,
        metric: WeightMetric,
    ) -> None:
        self.plan, self.lam = plan, lam
        self.places, start = {}, 0
        for role, rows in found.items():
            n = len(rows.given)
            if n < FOLDS:
                raise InputError(
                    f"only {n} {role} rows can be used, and the linearised forecast needs {FOLDS}.",
                    remedy="Add rows, or raise max_length.",
                )
            self.places[role] = (np.arange(start, start + n), np.arange(start + n, start + 2 * n))
            start += 2 * n
        self.counts: dict[Role, np.ndarray] = {
            role: rows.token_count.numpy() for role, rows in found.items()
        }
        self.gram, self._weights = _grams(found, plan, lam, metric)
        self.rates = plan.learning_rates()
        if plan.optimizer == "sgd":
            self.rates = self.rates / (1.0 - plan.momentum) * _clipping(found, plan, lam)
        self.path = Descent(self.rates) if plan.optimizer == "sgd" else Flow(self.rates.sum())
        # The rows' part in a step from J d.
        size, basis = np.linalg.eigh(self.gram)
        live = size > size.size * np.finfo(float).eps * size[-1]
        self._inverse = (basis[:, live] / size[live]) @ basis[:, live].T

    def forecast(self, order: tuple[int, ...]) -> tuple[float, float, float]:
        """Safety and task change on fold ``order[0]``, moved by the others; the displacement."""
        measuring, *moving = order
        moves = [self._move(measuring, fold) for fold in moving]
        reached, radius = self._displacement(measuring, moves), self.plan.radius
        kept = 1.0 if radius is None or reached <= radius else radius / reached
        safety, task = (
            kept * self._slope(role, measuring, moves)
            + kept**2 * (self._curvature(role, measuring, moves) + self._noise(role, measuring))
            for role in _CHANGES
        )
        return safety, task, kept * reached

    def _fold(self, role: Role, fold: int, *, without: bool = False) -> np.ndarray:
        inside = np.arange(len(self.counts[role])) % FOLDS == fold
        return np.flatnonzero(~inside if without else inside)

    def _population(self, role: Role, slope: np.ndarray, curvature: np.ndarray) -> Population:
        """The loss with its gradient from the rows ``slope`` and its curvature from others."""
        given, drawn = self.places[role]
        counts = self.counts[role]
        return Population(
            rows=np.concatenate([given[slope], drawn[curvature]]),
            weight=np.concatenate(
                [np.zeros(len(slope)), np.full(len(curvature), 1.0 / counts[curvature].sum())]
            ),
            slope=np.concatenate(
                [np.full(len(slope), 1.0 / counts[slope].sum()), np.zeros(len(curvature))]
            ),
        )

    def _move(self, measuring: int, fold: int) -> np.ndarray:
        """``J d`` on all rows for the gradients of one fold, with the curvature of two."""
        moved = {
            role: self._population(
                role, self._fold(role, fold), self._fold(role, measuring, without=True)
            )
            for role in self.counts
        }
        kernel = Kernel(self.gram, moved["task"], moved["safety"], moved.get("proxy"))
        return forecast(kernel, lam=self.lam, path=self.path).row_change

    def _displacement(self, measuring: int, moves: list[np.ndarray]) -> float:
        """How far the weights go, as the trainer measures it."""
        one, other = (self._inverse @ move for move in moves)
        # Each fold's own noise is in its own square, but not in the product.
        squared = max(float(one @ self._weights @ other), 0.0)
        squared += sum(
            share * float(np.einsum("ij,jk,ik->", parts, self._weights, parts))
            for share, parts in self._walks(measuring)
        )
        return squared**0.5

    def _slope(self, role: Role, measuring: int, moves: list[np.ndarray]) -> float:
        rows = self._fold(role, measuring)
        given = self.places[role][0][rows]
        return sum(float(move[given].sum()) for move in moves) / (
            len(moves) * self.counts[role][rows].sum()
        )

    def _curvature(self, role: Role, measuring: int, moves: list[np.ndarray]) -> float:
        rows = self._fold(role, measuring)
        drawn = self.places[role][1][rows]
        product = float((moves[0][drawn] * moves[1][drawn]).sum())
        return 0.5 * product / self.counts[role][rows].sum()

    def _noise(self, role: Role, measuring: int) -> float:
        """What the random walk of the mini-batches' noise costs: ``1/2 tr(H S)``."""
        rows = self._fold(role, measuring)
        drawn = self.gram[self.places[role][1][rows]]
        total = sum(
            share * float(((drawn @ parts.T) ** 2).sum()) for share, parts in self._walks(measuring)
        )
        return 0.5 * total / self.counts[role][rows].sum()

    def _walks(self, measuring: int) -> list[tuple[float, np.ndarray]]:
        """Of each stream its walk's covariance ``share parts' parts``, in the rows ``[m, n]``."""
        streams: list[tuple[Role, float, int]] = [("task", 1.0, self.plan.batch_size)]
        if self.lam:
            streams.append(("proxy", self.lam, self.plan.proxy_rows_per_step))
        walks = []
        for stream, weight, batch in streams:
            # The fold that measures must not make the noise too.
            others = self._fold(stream, measuring, without=True)
            parts = np.zeros((len(others), len(self.gram)))
            parts[np.arange(len(others)), self.places[stream][0][others]] = (
                len(others) / self.counts[stream][others].sum()
            )
            parts -= parts.mean(axis=0)
            share = weight**2 * float((self.rates**2).sum()) / (batch * max(len(others) - 1, 1))
            walks.append((share, parts))
        return walks


def _grams(
    found: dict[Role, GradientRows], plan: TrainingPlan, lam: float, metric: WeightMetric
) -> tuple[np.ndarray, np.ndarray]:
    """Inner products ``[n, n]`` of all rows in preconditioned coordinates, and of their steps.

    A row's step is measured as a change of the weights. Chunk by chunk of the coordinates: one
    scaled copy of all rows would be as large as they are.
    """
    dimension = found["task"].given.shape[1]
    count = sum(2 * len(rows.given) for rows in found.values())
    gram = weights = torch.zeros((), dtype=torch.float64)
    steps = []
    for part in chunks(dimension, count):
        here: dict[Role, GradientRows] = {role: rows.columns(part) for role, rows in found.items()}
        scale = _preconditioner(here, plan, lam)
        blocks = torch.cat([block for rows in here.values() for block in (rows.given, rows.drawn)])
        rooted, stepped = blocks * scale.sqrt(), blocks * scale
        gram = gram + (rooted @ rooted.T).double().cpu()
        if metric.blocks:
            steps.append(stepped)
        else:
            weights = weights + metric.gram(stepped)
    if metric.blocks:
        weights = metric.gram(torch.cat(steps, dim=1))  # an adapter's: small
    return gram.numpy(), weights.numpy()


def _preconditioner(found: dict[Role, GradientRows], plan: TrainingPlan, lam: float) -> Tensor:
    """P's diagonal ``[d]``: 1 for SGD, ``1 / (sqrt(E batch gradient^2) + eps)`` for AdamW."""
    task = found["task"]
    if plan.optimizer == "sgd":
        return torch.ones_like(task.mean)
    total = _objective_gradient(found, lam)
    moment = total**2
    for role, weight, batch in (
        ("task", 1.0, plan.batch_size),
        ("proxy", lam, plan.proxy_rows_per_step),
    ):
        if role in found and weight:
            # The square of the rows' own mean holds 1/n of the variance already.
            share = max(1.0 / batch - 1.0 / len(found[role].given), 0.0)
            moment = moment + weight**2 * share * found[role].contributions.var(0)
    return 1.0 / (moment.sqrt() + _ADAM_EPS)


def _objective_gradient(found: dict[Role, GradientRows], lam: float) -> Tensor:
    total = found["task"].mean
    return total + lam * found["proxy"].mean if lam else total


def _clipping(found: dict[Role, GradientRows], plan: TrainingPlan, lam: float) -> float:
    """By what SGD's clipping shortens a step at theta_s."""
    if plan.clip is None:
        return 1.0
    return min(1.0, plan.clip / float(_objective_gradient(found, lam).norm()))
