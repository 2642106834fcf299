"""Every statement on one problem and strategy, and the tightest of what they say."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from theory.bound import Bound, Direction, Quantity, Status
from theory.problem import Distribution, Problem, TabularProblem
from theory.statement import STATEMENTS, discover
from theory.strategy import Strategy

discover()

# Instances a pass; small enough that the tables of a pass stay in the processor's cache.
_CHUNK = 1024


def evaluate(
    problem: Problem, strategy: Strategy, *, statements: Collection[str] | None = None
) -> list[Bound]:
    """Every statement (or those named) on this problem; each says what it needs where it fails.

    A batch of tabular problems is one call: ``value``, ``status`` and ``terms`` of each bound are
    then arrays over the batch. Raises ValueError on an unknown statement.
    """
    unknown = set(statements or ()) - set(STATEMENTS)
    if unknown:
        raise ValueError(f"unknown statements {sorted(unknown)}; known: {', '.join(STATEMENTS)}.")
    chosen = [f for name, f in STATEMENTS.items() if statements is None or name in statements]
    if isinstance(problem, TabularProblem) and problem.batch_shape[:1] > (_CHUNK,):
        parts = [
            [b for statement in chosen for b in statement(part, part_strategy)]
            for part, part_strategy in _chunks(problem, strategy)
        ]
        return [_joined(bounds) for bounds in zip(*parts, strict=True)]
    return [b for statement in chosen for b in statement(problem, strategy)]


def _chunks(
    problem: TabularProblem, strategy: Strategy
) -> Iterator[tuple[TabularProblem, Strategy]]:
    size = problem.batch_shape[0]
    for start in range(0, size, _CHUNK):
        rows = slice(start, start + _CHUNK)
        yield _rows_of_problem(problem, rows), _rows_of_strategy(strategy, rows, size)


def _rows_of_problem(problem: TabularProblem, rows: slice) -> TabularProblem:
    def part(distribution: Distribution) -> Distribution:
        return Distribution.trusted(distribution.context[rows], distribution.target[rows])

    safety = part(problem.safety)
    return TabularProblem.trusted(
        safety=safety,
        task=part(problem.task),
        proxy=safety if problem.proxy is problem.safety else part(problem.proxy),
        aligned=problem.aligned[rows],
    )


def _rows_of_strategy(strategy: Strategy, rows: slice, size: int) -> Strategy:
    changed = {
        name: value[rows]
        for name, value in vars(strategy).items()
        if np.ndim(value) and np.shape(value)[0] == size
    }
    return replace(strategy, **changed) if changed else strategy


def _joined(bounds: Iterable[Bound]) -> Bound:
    bounds = list(bounds)
    first = bounds[0]
    if np.ndim(first.value) == 0:  # the same for the whole batch, such as NOT_APPLICABLE
        return first
    return replace(
        first,
        value=np.concatenate([b.value for b in bounds]),
        status=np.concatenate([b.status for b in bounds]),
        terms={
            name: np.concatenate([np.broadcast_to(b.terms[name], _shape(b)) for b in bounds])
            for name in first.terms
        },
        error=0.0
        if np.ndim(first.error) == 0
        else np.concatenate([np.broadcast_to(b.error, _shape(b)) for b in bounds]),
        failed=next((b.failed for b in bounds if b.failed), ""),
    )


def _shape(b: Bound) -> tuple[int, ...]:
    return np.shape(b.value)


@dataclass(frozen=True)
class Best:
    """The tightest bound and who gave it; ``None`` as winner means that nothing applies.

    ``failure_probability`` adds up over *all* candidates compared (a union bound): choosing the
    smallest of several high-probability bounds relies on each of them.
    """

    value: float
    winner: Bound | None
    status: Status
    failure_probability: float


_PROVED = (Status.EXACT, Status.CERTIFIED, Status.HIGH_PROBABILITY)


def best(
    bounds: Iterable[Bound],
    quantity: Quantity | str,
    direction: Direction | str,
    *,
    allow_estimated: bool = False,
) -> Best:
    """The tightest proved bound on ``quantity`` in ``direction`` (equalities serve both).

    ``allow_estimated=True`` lets ESTIMATED ones compete. Worst-case statements (T11) and VACUOUS
    ones never do. One instance at a time. Raises ValueError on a batch.
    """
    direction, quantity = Direction(direction), Quantity(quantity)
    if direction is Direction.EQUALITY:
        raise ValueError("direction is upper or lower; equalities compete in both.")
    accepted = (*_PROVED, Status.ESTIMATED) if allow_estimated else _PROVED
    candidates = []
    for b in bounds:
        if b.quantity != quantity or b.direction not in (direction, Direction.EQUALITY):
            continue
        if np.ndim(b.value):
            raise ValueError("best takes the bounds of one instance, not of a batch.")
        if b.status in accepted and b.scope == "instance":
            candidates.append(b)
    if not candidates:
        nothing = np.inf if direction is Direction.UPPER else 0.0
        return Best(nothing, None, Status.NOT_APPLICABLE, 0.0)
    sign = 1.0 if direction is Direction.UPPER else -1.0

    def reached(b: Bound) -> float:
        return float(b.value + sign * b.error)

    # Of equal values the best known wins: EXACT before CERTIFIED, and so on.
    winner = min(candidates, key=lambda b: (sign * reached(b), accepted.index(b.status)))
    total = min(sum(b.failure_probability for b in candidates), 1.0)
    status = winner.status
    if status in (Status.EXACT, Status.CERTIFIED) and total > 0:
        total = 0.0  # a certified winner stands whatever the others do
    return Best(reached(winner), winner, Status(status), total)
