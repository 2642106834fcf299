"""Every applicable bound beside what a run measured: held, violated, or vacuous.

Everything here is on the *training sets*, taken as the whole populations: the losses are exact,
so the theorems apply to them as they stand. Bounds that need only these losses are CERTIFIED;
those that need a curvature or a Lipschitz constant, which were measured, are ESTIMATED.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from finebound.results.comparison import ComparedBound, Verdict, When
from llm_validation.data.dataset import Dataset
from llm_validation.estimation.bounds import (
    PER_TOKEN,
    as_increase,
    model_bounds,
    vacuous_above,
)
from llm_validation.estimation.model_side import ModelSide, constants_of
from llm_validation.experiments.data_limits import data_limits
from llm_validation.experiments.datasets import SAFETY, proxy_set
from llm_validation.experiments.prepare import Prepared
from llm_validation.experiments.run import Measured
from llm_validation.measure.losses import Losses
from theory.bound import Bound, Direction, Quantity, Status, bound
from theory.evaluation import evaluate
from theory.problem import Constant, Constants
from theory.strategy import Hybrid, LossConstraint, ParameterConstraint, Strategy

# Losses come from float32 forward passes; sums are float64.
ROUNDING = 2e-6
_VALUE_GAP_PREMISE = "f_f + lambda f_hat_s ended no higher than it started"


def compare(measured: Measured, prepared: Prepared, side: ModelSide | None) -> list[ComparedBound]:
    """Every bound on every checkpoint of a run; ``side`` None leaves out measured constants."""
    found: list[ComparedBound] = []
    for step in measured.steps:
        if step == 0:
            continue
        at = _Checkpoint(measured, prepared, step)
        found += at.radius()
        if at.has_task:
            found += [*at.value_gap(), *at.data_limit()]
        if side is not None and at.has_task:
            found += at.landscape(side)
    return found


class _Checkpoint:
    """The bounds of one run at one checkpoint."""

    def __init__(self, measured: Measured, prepared: Prepared, step: int) -> None:
        self.measured, self.prepared, self.step = measured, prepared, step
        self.run, self.losses = measured.run, measured.losses[step]
        self.plan = measured.run.plan
        self.reach = float(measured.finetuned.result["optimiser_budget"]["weights_radius"])
        self.moved = measured.displacement(step)
        self.has_task = measured.loss(step, measured.task) is not None
        self.lam = self._lam()

    def _lam(self) -> float | None:
        """Lambda of the objective; None where dual ascent moved it or there is none."""
        return self.plan.lam if self.plan.needs_proxy_rows and self.plan.epsilon is None else None

    @property
    def safety_rise(self) -> float:
        return self.measured.known_change(SAFETY, self.step)

    def compared(
        self,
        when: When,
        what: str,
        b: Bound,
        measured: float,
        *,
        premise: str = "",
        premise_holds: bool = True,
    ) -> ComparedBound:
        return ComparedBound.beside(
            b,
            measured,
            run=self.run.id,
            step=self.step,
            fraction=self.measured.fraction(self.step),
            when=when,
            what=what,
            verdict=_verdict(b, measured) if premise_holds else "premise failed",
            premise=premise,
        )

    def radius(self) -> Iterator[ComparedBound]:
        """T13: the optimiser's budget, and the constraint's own radius."""
        limit = bound(
            "T13",
            Quantity.RADIUS,
            Direction.UPPER,
            {"optimiser budget": self.reach},
            form="weights",
            assumptions=("the optimiser follows its update rule in exact arithmetic",),
            unit="",
        )
        yield self.compared("a priori", "displacement", limit, self.moved)
        if self.plan.radius is not None:
            kept = replace(
                limit,
                statement="constraint",
                value=self.plan.radius,
                form="projection",
                assumptions=("every step is projected onto the ball",),
                terms={"radius": self.plan.radius},
            )
            yield self.compared("a priori", "displacement", kept, self.moved)

    def value_gap(self) -> Iterator[ComparedBound]:
        """T1 on exact losses: of the proxy's loss, and through TV of the safety loss."""
        if self.lam is None or self.run.proxy is None or self.plan.objective is not None:
            return  # no proxy, or preferences were trained on: that objective is not f_f's
        proxy = proxy_set(self.run.proxy)
        if proxy not in self.losses:
            return
        start, end = self.measured.losses[0], self.losses
        task_start = start[self.measured.task].per_token
        task_end = end[self.measured.task].per_token
        rise = end[proxy].per_token - start[proxy].per_token
        objective = (task_end - task_start) + self.lam * rise
        delta = max(objective, 0.0)
        strategy = LossConstraint(lam=self.lam)
        vocabulary = Constant(self.prepared.vocabulary)
        perfect = {"tv": Constant(0.0), "loss_oscillation": Constant(0.0), "vocabulary": vocabulary}
        prior = {"capability_gap_at_aligned": Constant(task_start)}
        after = {
            "capability_gap_at_aligned": Constant(max(task_start - task_end, 0.0)),
            "optimality_slack": Constant(delta),
        }
        cases: dict[When, dict[str, Constant]] = {"a priori": prior, "a posteriori": after}
        for when, known in cases.items():
            told = partial(
                self.compared,
                when,
                premise=_VALUE_GAP_PREMISE if when == "a priori" else "",
                premise_holds=when != "a priori" or delta <= ROUNDING,
            )
            of_proxy = _t1({**perfect, **known}, strategy)
            proxy_gap = replace(of_proxy, quantity=Quantity.PROXY_SAFETY_GAP)
            yield told("proxy loss rise", proxy_gap, rise)
            tv = row_tv(self.prepared.sets[SAFETY], self.prepared.sets[proxy], start, proxy)
            if tv == 0.0:
                yield told("safety loss rise", as_increase(of_proxy), self.safety_rise)
            elif when == "a posteriori":
                mismatch = {
                    "tv": Constant(tv),
                    "loss_oscillation": Constant(_oscillation(start, end, (SAFETY, proxy))),
                    "vocabulary": vocabulary,
                }
                of_safety = _t1({**mismatch, **known}, strategy)
                yield told("safety loss rise", as_increase(of_safety), self.safety_rise)

    def data_limit(self) -> Iterator[ComparedBound]:
        """T10 on the rows: what conflicting answers to one prompt cost every policy."""
        limits = data_limits(self.prepared, self.run.task)
        if not limits.conflicting:
            return
        safety = self.losses[SAFETY].per_sequence - limits.entropies[0]
        task = self.losses[self.measured.task].per_sequence - limits.entropies[1]
        for lam, b in limits.weighted:
            yield self.compared("a priori", f"G_f + {lam:g} G_s", b, task + lam * safety)
        for b in limits.roots:
            reached = np.sqrt(max(task, 0.0)) + np.sqrt(max(safety, 0.0))
            yield self.compared("a priori", "sqrt G_f + sqrt G_s", b, reached)

    def landscape(self, side: ModelSide) -> Iterator[ComparedBound]:
        """T6, T7, T8, T9, T12 with constants measured at theta_s: estimates."""
        reaches: dict[When, float] = {
            "a priori": min(self.reach, self.plan.radius or np.inf),
            "a posteriori": self.moved,
        }
        for when, reach in reaches.items():
            # SGD without a clip has no budget; weights that did not move need no bound.
            if 0.0 < reach < np.inf:
                yield from self._with_constants(side, when, reach)

    def _with_constants(self, side: ModelSide, when: When, reach: float) -> Iterator[ComparedBound]:
        has_proxy = self.run.proxy is not None
        strategy = self._strategy(reach)
        if when == "a priori":
            bounds = model_bounds(side, strategy, has_proxy=has_proxy, reach=reach)
        else:
            bounds = self._after(side, strategy, has_proxy, reach)
        for b in bounds:
            if b.status == Status.NOT_APPLICABLE:
                continue
            needs_value_gap = b.statement in ("T9", "T12") and "value gap / lambda" in b.terms
            objective = self._objective_rise()
            holds = not needs_value_gap or when == "a posteriori" or objective <= ROUNDING
            premise = _VALUE_GAP_PREMISE if needs_value_gap and when == "a priori" else ""
            told = partial(self.compared, when, premise=premise, premise_holds=holds)
            if b.quantity is Quantity.SAFETY_LOSS_INCREASE and b.direction is Direction.UPPER:
                yield told("safety loss rise", b, self.safety_rise)
            elif b.quantity is Quantity.CAPABILITY_GAP and b.direction is Direction.LOWER:
                # Lower ones hold for every model in the ball, upper ones only for minimisers.
                task = self.losses[self.measured.task].per_token
                yield told("task loss", b, task)

    def _strategy(self, reach: float) -> Strategy:
        if self.lam is not None:
            if self.plan.radius is not None:
                return Hybrid(lam=self.lam, radius=self.plan.radius)
            return LossConstraint(lam=self.lam)
        # Even an unconstrained fine-tune stays within its optimiser's budget.
        return ParameterConstraint(reach)

    def _objective_rise(self) -> float:
        task = self.measured.known_change(self.measured.task, self.step)
        if self.lam is None or self.run.proxy is None:
            return task
        return task + self.lam * self.measured.known_change(proxy_set(self.run.proxy), self.step)

    def _after(
        self, side: ModelSide, strategy: Strategy, has_proxy: bool, reach: float
    ) -> list[Bound]:
        """With the measured displacement, task loss and slack in place of what was foreseen."""
        known = dict(constants_of(side, has_proxy=has_proxy, radius=reach))
        start = self.measured.losses[0][self.measured.task].per_token
        end = self.losses[self.measured.task].per_token
        known["task_loss_at_aligned"] = Constant(start)
        known["task_loss_floor"] = Constant(min(end, start))
        known["capability_gap_at_aligned"] = Constant(start)
        known["optimality_slack"] = Constant(max(self._objective_rise(), 0.0))
        known["displacement"] = Constant(reach)
        statements = ("T6", "T7", "T8", "T9", "T12")
        found = []
        for b in evaluate(Constants(known), strategy, statements=statements):
            if b.statement == "T12" and b.form == "capability gap":
                continue  # the form "task loss" has the measured task loss, which is tighter
            if b.quantity is Quantity.SAFETY_GAP:
                b = as_increase(b)
            if b.quantity is Quantity.SAFETY_LOSS_INCREASE and b.direction is Direction.UPPER:
                b = vacuous_above(b, float(np.log(self.prepared.vocabulary)))
            found.append(replace(b, unit=PER_TOKEN if b.unit == "nats" else b.unit))
        return found


def _t1(constants: Mapping[str, Constant], strategy: LossConstraint) -> Bound:
    found = evaluate(Constants(constants), strategy, statements=("T1",))
    b = next(b for b in found if b.form == "total variation")
    return replace(
        b,
        unit=PER_TOKEN,
        assumptions=("f_f + lambda f_hat_s ends at most delta above its start", *b.assumptions[1:]),
    )


def _verdict(b: Bound, measured: float) -> Verdict:
    sign = 1.0 if b.direction is Direction.UPPER else -1.0
    tolerance = ROUNDING * (1.0 + abs(measured))
    if sign * (measured - b.value) > tolerance:
        return "violated"
    return "vacuous" if b.status == Status.VACUOUS else "held"


def _oscillation(
    start: Mapping[str, Losses], end: Mapping[str, Losses], names: tuple[str, ...]
) -> float:
    """``osc(h)`` over the rows of these sets, h the change of a row's mean token loss."""
    changes = np.concatenate(
        [(end[name].token_sum - start[name].token_sum) / start[name].token_count for name in names]
    )
    return float(changes.max() - changes.min())


def row_tv(safety: Dataset, proxy: Dataset, losses: Mapping[str, Losses], name: str) -> float:
    """TV of two sets as distributions over whole rows, each weighted by its answer's tokens.

    With these weights a set's mean of rows' mean token losses is its loss per token.
    """
    masses: dict[str, list[float]] = {}
    for place, (dataset, found) in enumerate(((safety, losses[SAFETY]), (proxy, losses[name]))):
        total = float(found.token_count.sum())
        for key, tokens in zip(_row_keys(dataset), found.token_count, strict=True):
            masses.setdefault(key, [0.0, 0.0])[place] += float(tokens) / total
    return 0.5 * sum(abs(a - b) for a, b in masses.values())


def _row_keys(dataset: Dataset) -> list[str]:
    return [
        hashlib.sha256(repr((e.messages, e.response)).encode("utf-8", "surrogatepass")).hexdigest()
        for e in dataset.examples
    ]


def tightest(compared: Sequence[ComparedBound], run: str, *, when: When) -> ComparedBound | None:
    """The tightest upper bound on a run's final change in safety loss that says anything."""
    mine = [c for c in compared if c.run == run and c.what == "safety loss rise" and c.when == when]
    last = max((c.step for c in mine), default=0)
    useful = [
        c for c in mine if c.step == last and c.verdict in ("held", "violated") and not c.is_empty
    ]
    # Of equal values the better known one.
    return min(useful, key=lambda c: (round(c.value, 9), not c.is_certain), default=None)
