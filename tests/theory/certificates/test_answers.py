"""Safe answers of any fine-tune, through the registry and on models whose answers are known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from theory.bound import Direction, Quantity, Status
from theory.certificates.answers import (
    kept_by_loss,
    kept_by_teacher,
    kept_by_weights,
    left_by_weights,
)
from theory.constants import Constant, Constants, Known
from theory.divergence import kl
from theory.evaluation import best, evaluate
from theory.strategy import LossConstraint, ParameterConstraint

STRATEGY = ParameterConstraint(1.0)


def of(name: str, constants: dict) -> list:
    return evaluate(Constants(constants), STRATEGY, statements=[name])


def test_the_registry_bounds_safe_answers_from_constants() -> None:
    exact, pinsker = of("T21", {"safe_answers_at_aligned": 1.0, "own_answer_loss_rise": 0.02})
    assert exact.value == pytest.approx(math.exp(-0.02))
    assert pinsker.value == pytest.approx(0.9)
    (teacher,) = of("T21", {"teacher_answer_loss": 0.5})
    assert teacher.value == pytest.approx(math.exp(-0.5))
    lower, upper = of("T22", {"clipped_safe_answers": 0.9, "clipped_unsafe_answers": 0.04})
    assert (lower.direction, lower.value) == (Direction.LOWER, 0.9)
    assert (upper.direction, upper.value) == (Direction.UPPER, pytest.approx(0.96))
    for b in (exact, pinsker, teacher, lower, upper):
        assert b.quantity is Quantity.SAFE_ANSWERS
        assert b.status is Status.CERTIFIED
        assert b.unit == "share"
        assert b.assumptions


def test_limits_from_samples_pass_their_failure_probability_on() -> None:
    sampled = {
        "safe_answers_at_aligned": Constant(0.95, Known.HIGH_PROBABILITY, 0.02),
        "own_answer_loss_rise": Constant(0.01, Known.HIGH_PROBABILITY, 0.03),
    }
    found = best(of("T21", sampled), Quantity.SAFE_ANSWERS, Direction.LOWER)
    assert found.winner is not None
    assert found.winner.form == "divergence"
    assert found.winner.status is Status.HIGH_PROBABILITY
    assert found.winner.failure_probability == pytest.approx(0.05)
    forecast = {**sampled, "own_answer_loss_rise": Constant(0.01, Known.ESTIMATED)}
    assert {b.status for b in of("T21", forecast)} == {Status.ESTIMATED}


@pytest.mark.parametrize("name", ["T21", "T22"])
def test_what_is_missing_is_said(name: str, tables) -> None:
    half = {"safe_answers_at_aligned": 0.9}
    (b,) = of(name, half)
    assert b.status is Status.NOT_APPLICABLE
    assert "answer" in b.failed
    (b,) = evaluate(tables, LossConstraint(lam=1.0), statements=[name])
    assert b.status is Status.NOT_APPLICABLE
    assert "needs" in b.failed


@pytest.fixture
def tables(rng):
    from theory.problem import Distribution, TabularProblem

    data = Distribution(np.array([0.5, 0.5]), rng.dirichlet(np.ones(3), size=2))
    return TabularProblem(safety=data, task=data)


@pytest.mark.parametrize("spread", [0.1, 1.0, 5.0])
def test_no_model_whose_answers_are_known_falls_below(spread: float, rng) -> None:
    n, prompts, answers = 500, 3, 4
    mass = rng.dirichlet(np.ones(prompts), size=n)
    before = rng.dirichlet(np.ones(answers), size=(n, prompts))
    logits = np.log(before) + spread * rng.normal(size=before.shape)
    after = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    safe = rng.random(before.shape) < 0.6

    def share(p, counted=safe):
        return (mass * (p * counted).sum(axis=-1)).sum(axis=-1)

    rise = (mass * kl(before, after)).sum(axis=-1)
    for b in kept_by_loss(share(before), rise):
        assert (b.value <= share(after) + 1e-12).all()
    clipped = before * np.minimum(after / before, 1.5)
    assert (kept_by_weights(share(clipped)).value <= share(after) + 1e-12).all()
    assert (left_by_weights(share(clipped, ~safe)).value >= share(after) - 1e-12).all()
    teacher = safe * before + 1e-12 * safe + np.where(safe.any(axis=-1, keepdims=True), 0, 1e-12)
    teacher /= teacher.sum(axis=-1, keepdims=True)
    loss = -(mass * (teacher * np.log(after)).sum(axis=-1)).sum(axis=-1)
    known = safe.any(axis=-1).all(axis=-1)
    assert (kept_by_teacher(loss).value <= share(after) + 1e-12)[known].all()
