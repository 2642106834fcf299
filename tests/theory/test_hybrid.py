"""T9: validity, tightness, mutants, zeros, batches, statuses of the hybrid's bounds."""

from __future__ import annotations

import numpy as np
import pytest

from theory.bound import Quantity, Status
from theory.hybrid import hybrid_safety
from theory.problem import Constant, Constants, Distribution, QuadraticProblem, TabularProblem
from theory.strategy import Hybrid, LossConstraint, ParameterConstraint


@pytest.mark.parametrize("aligned", ["safety", "near"])
def test_no_policy_that_improves_the_objective_in_the_ball_breaks_the_bound(
    rng, random_tabular, policy_gaps, assert_valid, radii, move_in_ball, aligned
) -> None:
    # The proof uses only that the objective ends no higher than at theta_s: so may the test.
    n = 10_000
    problem = random_tabular(rng, n, aligned=aligned)
    radius, lam = radii(rng, n), 10.0 ** rng.uniform(-2, 3, size=n)
    bounds = hybrid_safety(problem, Hybrid(lam=lam, radius=radius))
    start = policy_gaps(problem, problem.aligned)
    tried = 0
    for _ in range(6):
        policy = move_in_ball(rng, problem.aligned, radius)
        safety, proxy, task = policy_gaps(problem, policy)
        with np.errstate(invalid="ignore"):
            improved = task + lam * proxy <= start[2] + lam * start[1]
        improved &= np.isfinite(task) & np.isfinite(proxy)
        tried += int(improved.sum())
        for b in bounds:
            truth = safety if b.quantity is Quantity.SAFETY_GAP else task
            weakest = 0.0  # no upper bound on a gap can miss it
            assert_valid(b, np.where(improved, truth, weakest))
    assert tried > 1500


@pytest.mark.parametrize("aligned", ["safety", "near"])
def test_hybrid_minimum_of_a_table_obeys_every_form(
    rng, random_tabular, policy_gaps, instance, minimise_in_ball, assert_valid, aligned
) -> None:
    n = 40
    problem = random_tabular(rng, n, contexts=3, responses=3, aligned=aligned)
    radius, lam = 10.0 ** rng.uniform(-2, 1, size=n), 10.0 ** rng.uniform(-1, 2, size=n)
    policies = np.stack(
        [minimise_in_ball(instance(problem, i), radius[i], lam[i]) for i in range(n)]
    )
    safety, _, task = policy_gaps(problem, policies)
    applied = [
        assert_valid(b, safety if b.quantity is Quantity.SAFETY_GAP else task)
        for b in hybrid_safety(problem, Hybrid(lam=lam, radius=radius))
    ]
    assert min(applied) >= (10 if aligned == "safety" else 0)


def test_quadratic_hybrid_obeys_a_forty_digit_solution(
    rng, random_quadratic, quadratic_truth, assert_valid
) -> None:
    n = 120
    problem = random_quadratic(rng, n)
    scale = np.linalg.norm(problem.displacement, axis=-1)
    radius = scale * 10.0 ** rng.uniform(-3, 1, size=n)
    lam = 10.0 ** rng.uniform(-3, 3, size=n)
    truth = np.array([quadratic_truth(problem, i, radius[i], lam[i]) for i in range(n)])
    for b in hybrid_safety(problem, Hybrid(lam=lam, radius=radius)):
        assert_valid(b, truth[:, 0] if b.quantity is Quantity.SAFETY_GAP else truth[:, 1])


def test_quadratic_form_is_tight_where_safety_is_stiff(
    pick, assert_valid, assert_tight, assert_mutant_caught
) -> None:
    h_s, h_f, d, lam = 300.0, 1.0, 2.0, 1.0
    step = h_f * d / (h_f + lam * h_s)
    problem = QuadraticProblem(H_s=[[h_s]], H_f=[[h_f]], theta_s=[0.0], theta_f=[d])
    bounds = hybrid_safety(problem, Hybrid(lam=lam, radius=step))
    b, truth = pick(bounds, "quadratic"), 0.5 * h_s * step**2
    assert_valid(b, truth)
    assert_tight(b, truth)
    assert_mutant_caught(b, truth)
    b, truth = pick(bounds, "comparator"), 0.5 * h_f * (d - step) ** 2
    assert_valid(b, truth)
    assert_tight(b, truth)
    assert_mutant_caught(b, truth)


class OneParameterModel:
    """Coins whose log-odds all move with one parameter ``0 <= t <= radius``, at most J each.

    Each context is ``(safety mass, proxy mass, task mass, slope)``; its answer has aligned
    probability 1e-12, so its loss changes by ``-2 slope t`` to within 1e-9.
    """

    def __init__(self, *contexts: tuple[float, float, float, float], radius: float) -> None:
        self.masses = np.array([c[:3] for c in contexts])
        self.slopes = np.array([c[3] for c in contexts])
        self.radius = radius

    def losses(self, t: np.ndarray) -> np.ndarray:
        """``[3, ...]``: safety, proxy and task loss at ``t``."""
        odds = np.log(1e-12) + 2.0 * np.multiply.outer(self.slopes, t)
        return self.masses.T @ np.logaddexp(0.0, -odds)

    def run(self, lam: float) -> tuple[float, float, float]:
        """Minimise over a grid: safety gap reached, G_f at the start, TV(D_s, D_hat_s)."""
        grid = np.linspace(0.0, self.radius, 4001)
        safety, proxy, task = self.losses(grid)
        best = np.argmin(task + lam * proxy)
        tv = 0.5 * np.abs(self.masses[:, 0] - self.masses[:, 1]).sum()
        assert np.argmin(safety) == 0
        return safety[best] - safety.min(), task[0] - task.min(), tv


@pytest.mark.parametrize("part", ["value gap", "mismatch"])
def test_each_term_is_attained_by_a_one_parameter_model(
    pick, assert_valid, assert_tight, assert_mutant_caught, part
) -> None:
    radius, slope = 2.0, 0.7
    if part == "value gap":
        # What the task gains, the (perfect) proxy loses, all but 0.5 %.
        model = OneParameterModel(
            (0.995, 0.995, 0.0, -slope), (0.005, 0.005, 0.0, 0.0), (0, 0, 1, slope), radius=radius
        )
    else:
        # The proxy improves where only it looks, and pays for the harm on shared contexts; so
        # it does not see that the safety data loses on both.
        eta = 0.1
        shared = slope * eta / (1 - eta)
        model = OneParameterModel(
            (1 - eta, 1 - eta, 0.0, -shared),
            (eta, 0.0, 0.0, -slope),
            (0.0, eta, 0.0, slope),
            (0.0, 0.0, 1.0, 1e-4 * slope),
            radius=radius,
        )
    truth, capability, tv = model.run(lam=1.0)
    constants = Constants({"logit_lipschitz": slope, "tv": tv})
    b = next(
        b for b in hybrid_safety(constants, Hybrid(lam=1.0, radius=radius)) if b.form == "(A-J)"
    )
    if part == "mismatch":
        known = Constants({**constants, "capability_gap_at_aligned": capability})
        b = hybrid_safety(known, Hybrid(lam=1.0, radius=radius))[0]
    assert_valid(b, truth)
    assert_tight(b, truth)
    assert_mutant_caught(b, truth)


def test_table_forms_are_tight_in_what_the_proxy_allows(policy_gaps) -> None:
    # One shared coin, started just short of the hybrid's optimum: the increase meets the bound.
    lam, aligned = 400.0, 0.00248
    optimum = 1.0 / (1.0 + lam)
    radius = (np.log(optimum / (1 - optimum)) - np.log(aligned / (1 - aligned))) / np.sqrt(2)
    problem = TabularProblem(
        safety=Distribution([1.0], [[1.0, 0.0]]),
        task=Distribution([1.0], [[0.0, 1.0]]),
        aligned=[[1.0 - aligned, aligned]],
    )
    policy = np.array([[1.0 - optimum, optimum]])
    safety = policy_gaps(problem, policy)[0]
    increase = safety - problem.safety_gap_at_aligned
    for b in hybrid_safety(problem, Hybrid(lam=lam, radius=radius))[:2]:
        allowed = b.value - problem.safety_gap_at_aligned
        assert increase <= allowed < 1.02 * increase
        assert 0.98 * allowed < increase


def test_one_context_that_the_proxy_never_sees_can_use_most_of_the_radius(policy_gaps) -> None:
    # Within sqrt(2) of the tabular form and 2 of the general one. Two contexts that move together
    # come within 1 % of the tabular form: the adversary of sims finds them.
    radius, aligned, lam = 300.0, 1e-4, 1e9
    problem = TabularProblem(
        safety=Distribution([1.0, 0.0], [[1.0, 0.0]] * 2),
        proxy=Distribution([0.0, 1.0], [[1.0, 0.0]] * 2),
        task=Distribution([1.0, 0.0], [[0.0, 1.0]] * 2),
        aligned=[[1.0 - aligned, aligned], [1.0, 0.0]],
    )
    odds = np.log(aligned / (1 - aligned)) + np.sqrt(2) * radius
    policy = np.array([[np.exp(-np.logaddexp(0, odds)), 1.0], [1.0, 0.0]])
    truth = policy_gaps(problem, policy)[0]
    forms = {b.form: b.value for b in hybrid_safety(problem, Hybrid(lam=lam, radius=radius))}
    assert truth <= forms["tabular"] < 1.45 * truth
    assert truth <= forms["(A-J)"] < 2.05 * truth


def test_without_data_the_radius_alone_bounds_a_coin(
    policy_gaps, coin, moved_coin, pick, assert_valid, assert_tight, assert_mutant_caught
) -> None:
    problem, radius = coin(0.5, 1.0), 0.05
    truth = policy_gaps(problem, moved_coin(0.5, radius, 1.0))[0]
    b = pick(hybrid_safety(problem, Hybrid(lam=1e-9, radius=radius)), "without data")
    assert_valid(b, truth)
    assert_tight(b, truth)
    assert_mutant_caught(b, truth)


def test_mismatch_is_multiplied_by_the_radius_not_by_the_loss_range() -> None:
    constants = Constants({"logit_lipschitz": 3.0, "tv": 0.9, "capability_gap_at_aligned": 0.5})
    small, large = (hybrid_safety(constants, Hybrid(lam=2.0, radius=r))[0] for r in (0.001, 0.002))
    assert small.value == pytest.approx(0.006 / 2 + 4 * 3 * 0.001 * 0.9)
    assert large.value == pytest.approx(2 * small.value)


def test_infinite_objective_singles_out_no_minimiser() -> None:
    problem = TabularProblem(
        safety=Distribution([1.0], [[1.0, 0.0]]), task=Distribution([1.0], [[0.0, 1.0]])
    )
    bounds = {b.form: b for b in hybrid_safety(problem, Hybrid(lam=1.0, radius=1.0))}
    assert bounds["(A-J)"].status is Status.NOT_APPLICABLE
    assert "infinite at theta_s" in bounds["(A-J)"].failed
    assert bounds["(A-J), without data"].value == pytest.approx(0.25)
    assert bounds["comparator theta_s"].status is Status.VACUOUS
    off_proxy = TabularProblem(
        safety=Distribution([1.0], [[1.0, 0.0]]),
        proxy=Distribution([1.0], [[0.0, 1.0]]),
        task=Distribution([1.0], [[1.0, 0.0]]),
    )
    bounds = {b.form: b for b in hybrid_safety(off_proxy, Hybrid(lam=1.0, radius=1.0))}
    assert bounds["tabular"].status is Status.NOT_APPLICABLE


@pytest.mark.parametrize("kind", ["tabular", "quadratic"])
def test_batch_equals_loop(rng, random_tabular, random_quadratic, instance, radii, kind) -> None:
    n = 15
    problem = (
        random_tabular(rng, n, aligned="random") if kind == "tabular" else random_quadratic(rng, n)
    )
    radius, lam = radii(rng, n), 10.0 ** rng.uniform(-2, 2, size=n)
    for batch, one in (
        (Hybrid(lam=lam, radius=radius), lambda i: Hybrid(lam=lam[i], radius=radius[i])),
        (Hybrid(lam=2.0, radius=0.5), lambda i: Hybrid(lam=2.0, radius=0.5)),
    ):
        together = hybrid_safety(problem, batch)
        for i in range(n):
            alone = hybrid_safety(instance(problem, i), one(i))
            for a, b in zip(alone, together, strict=True):
                value = np.broadcast_to(b.value, (n,))[i]
                assert a.value == pytest.approx(value, rel=1e-9, abs=1e-15)
                assert str(a.status) == str(np.broadcast_to(b.status, (n,))[i])


def test_status_follows_the_constants() -> None:
    known = {
        "logit_lipschitz": Constant(2.0),
        "tv": Constant(0.1, "high_probability", 0.02),
        "capability_gap_at_aligned": Constant(0.3, "high_probability", 0.01),
        "tv_context": Constant(0.05),
        "tv_teacher": Constant(0.05, "estimated"),
        "optimality_slack": Constant(0.01),
    }

    def forms(radius: float, **changed: float | Constant):
        bounds = hybrid_safety(Constants(known | changed), Hybrid(lam=1.0, radius=radius))
        return {b.form: b for b in bounds}

    # A small radius does not use G_f(theta_s), a large one does.
    assert forms(0.01)["(A-J)"].failure_probability == pytest.approx(0.02)
    assert forms(1.0)["(A-J)"].failure_probability == pytest.approx(0.03)
    assert forms(1.0)["(A-J)"].status is Status.HIGH_PROBABILITY
    assert forms(1.0)["(A-J), context and teacher"].status is Status.ESTIMATED
    assert forms(1.0)["(A-J)"].value == pytest.approx(0.31 + 4 * 2 * 0.1)
    assert forms(1.0)["(A-J), without data"].status is Status.CERTIFIED
    assert forms(1.0, vocabulary=2.0)["(A-J)"].status is Status.VACUOUS
    off = forms(1.0, safety_gap_at_aligned=0.2)
    assert off["(A-J)"].value == pytest.approx(0.2 + 0.31 + 0.8)
    assert off["(A-J), without data"].status is Status.NOT_APPLICABLE
    sampled = forms(1.0, uniform_deviation_safety=0.1, uniform_deviation_task=0.02)
    assert sampled["(A-J)"].value == pytest.approx(0.31 + 0.8 + 0.2 + 0.04)


def test_what_does_not_apply_names_what_is_missing() -> None:
    constants = Constants({"logit_lipschitz": 1.0, "tv": 0.1})
    cases = [
        (constants, ParameterConstraint(1.0), "needs a hybrid"),
        (constants, LossConstraint(lam=1.0), "needs a hybrid"),
        (Constants({"tv": 0.1}), Hybrid(1.0, 1.0), "logit_lipschitz"),
        (Constants({"logit_lipschitz": 1.0}), Hybrid(1.0, 1.0), "needs tv"),
    ]
    for problem, strategy, words in cases:
        missing = [b for b in hybrid_safety(problem, strategy) if not b.applies]
        assert any(words in b.failed for b in missing)
    measured = Constants({**constants, "displacement": 0.5})
    b = hybrid_safety(measured, LossConstraint(lam=1.0))[0]
    same = hybrid_safety(constants, Hybrid(lam=1.0, radius=0.5))[0]
    assert (b.value, b.terms) == (same.value, same.terms)


def test_an_infinite_task_loss_at_the_start_proves_nothing() -> None:
    """Then every point of the ball is a "minimiser", and the value gap is infinity less itself."""
    constants = Constants({"logit_lipschitz": 1.0, "tv": 0.0, "capability_gap_at_aligned": np.inf})
    (b,) = hybrid_safety(constants, Hybrid(lam=1.0, radius=0.1))
    assert b.status is Status.NOT_APPLICABLE
    assert "finite" in b.failed
