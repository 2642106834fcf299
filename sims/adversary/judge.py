"""What the ascent found, judged without its formulas: theory's bound against another truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from sims.adversary.form import FROM_START, Attempt, Form, Found
from sims.family import stacked
from theory import evaluation
from theory.bound import Bound, Direction, Status
from theory.divergence import Array
from theory.problem import Constants, Problem, QuadraticProblem, TabularProblem
from theory.strategy import Strategy

# A bound is a sum over a few table cells of formulas of some ten operations: fewer than 256
# roundings, each at most 2^-53 of the value; and rows of three answers sum to 1 within 2^-51, a
# few of which enter, times the nats or weights (``size``) that they are multiplied with.
_ROUNDING, _ROWS = 2.0**-45, 2.0**-49
# Of the gap at the start, which a bound on its fall has to leave to tell something.
_LEFT = 0.1
# What the error of an instance may add to its ratio.
PRECISION = 1e-9


def judged(form: Form, attempt: Attempt, size: Array) -> tuple[Array, Array, Array]:
    """Ratio, its error and the bound ``[n]``; a ratio of ``-inf`` has too few digits to count.

    ``size [n]``: the nats whose rounding enters. The ratio is ``1 - slack / scale``: how much of
    the bound, of its change from the start or of one term the truth leaves unused. Where the error
    exceeds :data:`PRECISION` of the scale an instance does not count, unless it breaks the bound
    by more than that error: so a correct bound cannot be reported above ``1 + PRECISION``.
    """
    b = _bound(form, attempt)
    shape = attempt.truth.shape
    value = np.broadcast_to(np.asarray(b.value, dtype=np.float64), shape)
    truth, start, upper = attempt.truth, attempt.start, b.direction is Direction.UPPER
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        error = attempt.error + _ROWS * size
        error += _ROUNDING * (np.abs(value) + np.abs(truth) + np.abs(start))
        slack = value - truth if upper else truth - value
        if form.part == FROM_START:
            # A gap that can only fall is bounded from above by the least that is gained.
            falls = truth <= start
            scale = np.where(falls, start - (truth if upper else value), value - start)
        elif form.part in b.terms:
            scale = np.abs(np.broadcast_to(np.asarray(b.terms[form.part]), shape))
        else:
            scale = value if upper else truth
        ratio = np.where(scale > 0, 1.0 - slack / scale, np.where(slack < 0, np.inf, -np.inf))
        precise = error <= PRECISION * scale
    applies = np.broadcast_to(np.asarray(b.status) != Status.NOT_APPLICABLE, shape)
    # A gap that has fallen to nothing meets any bound that falls to 0, which says nothing.
    telling = precise & (upper | (value > 0))
    if form.part == FROM_START:
        telling &= value > _LEFT * start
    known = applies & attempt.checked & ~np.isnan(slack) & (telling | (slack < -error))
    with np.errstate(invalid="ignore", divide="ignore"):
        of_ratio = np.where(scale > 0, error / scale, np.inf)
    return np.where(known, ratio, -np.inf), of_ratio, value


def _bound(form: Form, attempt: Attempt) -> Bound:
    # Looked up when called, so that the bound judged is the one theory gives now.
    evaluate = evaluation.evaluate
    if not isinstance(attempt.problem, list):
        return form.of(evaluate(attempt.problem, attempt.strategy, statements=[form.statement]))
    each = [evaluate(p, attempt.strategy, statements=[form.statement]) for p in attempt.problem]
    return form.of(stacked(each))


def best(
    form: Form, attempt: Attempt, size: Array, *, steps: int, history: tuple[float, ...]
) -> Found:
    """The instance with the highest ratio; a ratio of 0 if none has digits enough."""
    ratio, error, value = judged(form, attempt, size)
    i = int(np.argmax(ratio))
    counts = bool(ratio[i] > -np.inf)
    return Found(
        statement=form.statement,
        family=form.family,
        quantity=str(form.quantity),
        direction=str(form.direction),
        form=form.form,
        part=form.part,
        ratio=float(ratio[i]) if counts else 0.0,
        error=float(error[i]),
        sharpest=form.sharpest,
        why=form.why,
        bound=float(value[i]),
        truth=float(attempt.truth[i]),
        restarts=len(ratio),
        steps=steps,
        problem=_problem_as_json(attempt.problem, i),
        strategy=_strategy_as_json(attempt.strategy, i),
        attained={name: np.asarray(v)[i].tolist() for name, v in attempt.attained.items()},
        history=history,
    )


def _problem_as_json(problem: Problem | list[Constants], i: int) -> dict[str, object]:
    """Instance ``i`` as a PROBLEM.json, whose numbers are read back exactly."""
    if isinstance(problem, list):
        return {"kind": "constants", **{name: c.value for name, c in problem[i].items()}}
    if isinstance(problem, QuadraticProblem):
        names = ("H_s", "H_f", "theta_s", "theta_f")
        return {"kind": "quadratic", **{n: getattr(problem, n)[i].tolist() for n in names}}
    if not isinstance(problem, TabularProblem):
        raise ValueError("an attack is on tables, quadratics or lists of constants.")
    parts = {
        name: {"context": d.context[i].tolist(), "target": d.target[i].tolist()}
        for name, d in (
            ("safety", problem.safety),
            ("task", problem.task),
            ("proxy", problem.proxy),
        )
    }
    return {"kind": "tabular", **parts, "aligned": problem.aligned[i].tolist()}


def _strategy_as_json(strategy: Strategy, i: int) -> Mapping[str, object]:
    from finebound.results.strategies import StrategyEntry

    given = {
        name: float(np.broadcast_to(value, np.shape(value))[i] if np.ndim(value) else value)
        for name, value in vars(strategy).items()
        if value is not None
    }
    return StrategyEntry.of(replace(strategy, **given)).to_dict()
