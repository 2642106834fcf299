"""The families' true gaps, against closed forms that they do not use."""

from __future__ import annotations

import numpy as np
import pytest

from sims.families.draws import tables
from sims.families.price import Price
from sims.families.quadratic import Quadratic
from sims.families.tabular import Tabular, case_one_policy, gaps
from sims.families.trust_region import minimise_in_ball, moved
from sims.family import Kind
from theory.bound import Quantity
from theory.exact import exact
from theory.problem import Distribution, QuadraticProblem, TabularProblem
from theory.strategy import Hybrid, LossConstraint, ParameterConstraint

GAPS = (Quantity.SAFETY_GAP, Quantity.PROXY_SAFETY_GAP, Quantity.CAPABILITY_GAP)


def ordinary(rng: np.random.Generator, n: int) -> TabularProblem:
    """Full supports, nothing tiny."""

    def draw() -> Distribution:
        return Distribution(
            rng.dirichlet(np.full(3, 5.0), n), rng.dirichlet(np.full(4, 5.0), (n, 3))
        )

    return TabularProblem(safety=draw(), task=draw(), proxy=draw())


def test_draws_hold_every_degenerate_kind() -> None:
    rng = np.random.default_rng(0)
    problems = [tables(rng, 500) for _ in range(20)]
    assert {p.safety.target.shape[1:] for p in problems} == {(1, 2), (3, 3), (5, 4), (2, 1)}
    wide = [p for p in problems if p.safety.target.shape[1:] == (5, 4)]
    for share in (
        [(~p.overlap.any(axis=-1)).mean() for p in wide],  # no shared context
        [(p.safety.target == 0).any(axis=(-2, -1)).mean() for p in wide],
        [p.same_teacher.mean() for p in wide],
        [np.isinf(p.capability_gap_at_aligned).mean() for p in wide],
        [(p.safety_gap_at_aligned > 0).mean() for p in wide],
        [(p.disagreement.max(axis=-1) < 1e-3).mean() for p in wide],
    ):
        assert 0.01 < np.mean(share) < 0.99


@pytest.mark.parametrize("by", ["lam", "epsilon"])
def test_case_one_of_a_table_agrees_with_the_closed_form(by) -> None:
    rng = np.random.default_rng(1)
    problem = ordinary(rng, 200)
    lam = 10.0 ** rng.uniform(-1, 1, size=200)
    strategy = LossConstraint(lam=lam)
    if by == "epsilon":
        reached = np.asarray(exact(problem, strategy).proxy_safety_gap)
        strategy = LossConstraint(epsilon=reached)
    truth, solution = Tabular().truths(problem, strategy), exact(problem, strategy)
    for quantity in GAPS:
        np.testing.assert_allclose(truth[quantity], getattr(solution, quantity), rtol=1e-9)


def test_no_policy_has_a_smaller_objective_than_the_mixture() -> None:
    rng = np.random.default_rng(2)
    problem, lam = ordinary(rng, 100), np.full(100, 2.0)

    def objective(policy: np.ndarray) -> np.ndarray:
        found = gaps(problem, policy)
        return found[Quantity.CAPABILITY_GAP] + lam * found[Quantity.PROXY_SAFETY_GAP]

    best = objective(case_one_policy(problem, lam))
    for _ in range(50):
        other = rng.dirichlet(np.ones(4), (100, 3))
        for share in (1.0, 1e-2):
            near = (1 - share) * case_one_policy(problem, lam) + share * other
            assert (objective(near) > best).all()


def test_a_coin_in_a_ball_moves_all_that_the_radius_allows() -> None:
    # One context, two answers: logits move apart by sqrt(2) radius, towards the task.
    problem = TabularProblem(
        safety=Distribution([[1.0]], [[[0.5, 0.5]]]), task=Distribution([[1.0]], [[[0.0, 1.0]]])
    )
    for radius in (0.01, 0.5, 3.0):
        policy, slack = minimise_in_ball(problem, lam=0.0, radius=radius)
        expected = 1.0 / (1.0 + np.exp(-np.sqrt(2.0) * radius))
        assert policy[0, 0, 1] == pytest.approx(expected, rel=1e-9)
        assert 0 <= slack[0] < 1e-9


def test_the_slack_of_a_ball_is_an_honest_certificate() -> None:
    rng = np.random.default_rng(3)
    problem = tables(rng, 300)
    radius, lam = 10.0 ** rng.uniform(-2, 1, size=300), 10.0 ** rng.uniform(-1, 1, size=300)
    policy, slack = minimise_in_ball(problem, lam=lam, radius=radius)

    def objective(policy: np.ndarray) -> np.ndarray:
        found = gaps(problem, policy)
        return found[Quantity.CAPABILITY_GAP] + lam * found[Quantity.PROXY_SAFETY_GAP]

    reached = objective(policy)
    finite = np.isfinite(reached)
    assert finite.mean() > 0.5
    assert (reached <= objective(problem.aligned) + 1e-12)[finite].all()
    for _ in range(50):
        step = rng.normal(size=problem.aligned.shape)
        step *= (radius / np.linalg.norm(step, axis=(-2, -1)))[:, None, None]
        other = objective(moved(problem.aligned, step))
        assert (reached - slack <= other + 1e-12 * (1 + np.abs(other)))[finite].all()
    assert np.median(slack[finite] / (objective(problem.aligned)[finite] + 1e-12)) < 1e-3


@pytest.mark.parametrize("kind", ["loss", "parameter", "hybrid"])
def test_quadratic_minimisers_agree_with_the_closed_form(kind) -> None:
    rng = np.random.default_rng(4)
    n = 200
    factors = rng.normal(size=(2, n, 3, 3))
    hessians = factors @ np.swapaxes(factors, -1, -2) + 0.1 * np.eye(3)
    theta = rng.normal(size=(2, n, 3))
    problem = QuadraticProblem(*hessians, *theta)
    lam, radius = 10.0 ** rng.uniform(-1, 1, size=n), 10.0 ** rng.uniform(-2, 1, size=n)
    strategy = {
        "loss": LossConstraint(lam=lam),
        "parameter": ParameterConstraint(radius),
        "hybrid": Hybrid(lam=lam, radius=radius),
    }[kind]
    truth, solution = Quadratic().truths(problem, strategy), exact(problem, strategy)
    for quantity in GAPS:
        np.testing.assert_allclose(
            truth[quantity], getattr(solution, quantity), rtol=1e-8, atol=1e-14
        )
    if kind != "loss":
        assert (truth[Quantity.RADIUS] <= radius * (1 + 1e-12)).all()


def test_other_runs_stay_in_the_ball() -> None:
    rng = np.random.default_rng(5)
    for family in (Tabular(), Quadratic()):
        problem = family.draw(rng, 200)
        for strategy in family.strategies(rng, problem):
            for run in family.runs(rng, problem, strategy):
                if run.kind is Kind.ANY or isinstance(strategy, LossConstraint):
                    continue
                moved_by = run.truth[Quantity.RADIUS]
                assert (moved_by <= strategy.radius + run.error[Quantity.RADIUS]).all()


def test_the_best_hedge_pays_the_same_at_every_corner() -> None:
    # V = 2: the capacity of a Z-channel, in closed form.
    rng, family = np.random.default_rng(6), Price()
    for _ in range(20):
        problem = family.draw(rng, 10)
        if problem["vocabulary"].value != 2:
            continue
        eta = problem["tv"].value
        paid = family.truths(problem, LossConstraint(lam=1.0))[Quantity.SAFETY_GAP][0]
        assert paid == pytest.approx(np.log1p(eta * (1 - eta) ** ((1 - eta) / eta)), rel=1e-9)
