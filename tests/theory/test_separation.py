"""T8 and the crossover radius: what each of the two constraints can do that the other cannot."""

from __future__ import annotations

import numpy as np
import pytest

from theory.bound import Quantity, Status
from theory.parameter_constraint import crossover_radius, safety_within_radius, separation
from theory.problem import Constant, Constants, Distribution, QuadraticProblem, TabularProblem
from theory.strategy import LossConstraint, ParameterConstraint


def test_front_bounds_what_a_radius_reaches_and_is_met_when_curvatures_agree(
    assert_valid, assert_tight, assert_mutant_caught, pick, quadratic_truth
) -> None:
    # H_s proportional to the identity: Case II walks along the front itself.
    rng = np.random.default_rng(5)
    q = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    problem = QuadraticProblem(
        H_s=[2.0 * np.eye(3)],
        H_f=[q @ np.diag([0.3, 1.0, 8.0]) @ q.T],
        theta_s=[[0.0, 0.0, 0.0]],
        theta_f=[[1.0, -2.0, 0.5]],
    )
    truth = quadratic_truth(problem, 0, 0.8)[1]
    b = pick(separation(problem, ParameterConstraint(0.8)), "(c)")
    assert_valid(b, truth)
    assert assert_tight(b, truth) < 1.0 + 1e-8
    assert_mutant_caught(b, truth)


def test_front_below_a_table_within_a_radius_is_close_for_a_coin(
    policy_gaps, assert_valid, assert_tight, assert_mutant_caught, pick, coin, moved_coin
) -> None:
    problem, radius = coin(0.5, 1.0), 0.01
    truth = policy_gaps(problem, moved_coin(0.5, radius, 1.0))[2]
    b = pick(separation(problem, ParameterConstraint(radius)), "(c)")
    assert_valid(b, truth)
    assert_tight(b, truth)
    assert_mutant_caught(b, truth)


def test_radius_costs_capability_without_any_shared_context(
    policy_gaps, assert_valid, assert_tight, assert_mutant_caught, pick, moved_coin
) -> None:
    problem = TabularProblem(
        safety=Distribution([1.0, 0.0], [[0.5, 0.5], [0.5, 0.5]]),
        task=Distribution([0.0, 1.0], [[0.5, 0.5], [0.0, 1.0]]),
        aligned=[[0.5, 0.5], [1.0 - 1e-7, 1e-7]],
    )
    radius = 4.0
    policy = np.stack([problem.aligned[0], moved_coin(1e-7, radius, 1.0)[0]])
    truth = policy_gaps(problem, policy)[2]
    b = pick(separation(problem, ParameterConstraint(radius)), "(b)")
    assert_valid(b, truth)
    assert_tight(b, truth)
    assert_mutant_caught(b, truth)
    free = separation(problem, LossConstraint(lam=1.0))
    assert [x.value for x in free if x.form == "(a) zero gaps"] == [0.0, 0.0]
    assert {str(x.status) for x in free if x.form == "(a) zero gaps"} == {"EXACT"}


def test_zero_gaps_of_case_one(rng, random_tabular, policy_gaps, case_one_policy) -> None:
    n = 10_000
    problem = random_tabular(rng, n, contexts=3, responses=3, same_teacher=True)
    lam = 10.0 ** rng.uniform(-2, 2, size=n)
    safety, _, task = policy_gaps(problem, case_one_policy(problem, lam))
    for b in separation(problem, LossConstraint(lam=lam)):
        if b.form != "(a) zero gaps":
            continue
        claimed = np.asarray(b.status) == Status.EXACT
        truth = safety if b.quantity is Quantity.SAFETY_GAP else task
        assert claimed.sum() > 300
        assert (truth[claimed] < 1e-18).all()
        if b.quantity is Quantity.CAPABILITY_GAP:  # where agreement is also necessary
            shared = np.minimum(problem.task.context, problem.proxy.context)
            contested = (shared > 1e-6) & (problem.disagreement > 1e-3)
            assert not claimed[contested.any(axis=-1)].any()
            assert (truth[~claimed & contested.any(axis=-1)] > 0).all()


@pytest.mark.parametrize("broken", ["teacher", "coverage", "untouched"])
def test_zero_safety_gap_needs_each_of_its_assumptions(
    policy_gaps, broken, case_one_policy
) -> None:
    same, other = [0.5, 0.5], [0.9, 0.1]
    proxy_target = other if broken == "teacher" else same
    task_mass = [0.0, 1.0] if broken == "coverage" else [0.0, 0.0, 1.0]
    contexts = len(task_mass)
    safety_mass = [0.5, 0.5] + [0.0] * (contexts - 2)
    problem = TabularProblem(
        safety=Distribution(safety_mass, [same] * contexts),
        proxy=Distribution([1.0] + [0.0] * (contexts - 1), [proxy_target] * contexts),
        task=Distribution(task_mass, [other] * contexts),
        aligned=[same, other if broken == "untouched" else same, same][:contexts],
    )
    strategy = LossConstraint(lam=1.0)
    (b,) = [
        b
        for b in separation(problem, strategy)
        if b.form == "(a) zero gaps" and b.quantity is Quantity.SAFETY_GAP
    ]
    assert b.status is Status.NOT_APPLICABLE
    batch = TabularProblem(
        *(
            Distribution(d.context[None], d.target[None])
            for d in (problem.safety, problem.task, problem.proxy)
        ),
        aligned=problem.aligned[None],
    )
    assert policy_gaps(batch, case_one_policy(batch, np.array([1.0])))[0][0] > 0.05


def test_epsilon_leaves_safety_directions_free() -> None:
    problem = QuadraticProblem(
        H_s=np.diag([1.0, 0.0]), H_f=np.diag([0.0, 1.0]), theta_s=[0.0, 0.0], theta_f=[1.0, 1.0]
    )
    for strategy, safety in (
        (LossConstraint(lam=2.0), Status.EXACT),
        (LossConstraint(epsilon=0.3), Status.NOT_APPLICABLE),
        (LossConstraint(epsilon=0.0), Status.EXACT),
    ):
        found = {b.quantity: b.status for b in separation(problem, strategy)[:2]}
        assert found == {Quantity.CAPABILITY_GAP: Status.EXACT, Quantity.SAFETY_GAP: safety}


def test_capability_target_forces_a_radius_and_a_safety_gap(
    pick, assert_valid, assert_tight, assert_mutant_caught, moved_coin
) -> None:
    # A coin that starts almost certain of the wrong answer: its loss falls at the full slope.
    radius, aligned = 6.0, 1e-9
    moved = moved_coin(aligned, radius, 1.0)[0]
    constants = Constants(
        {
            "capability_gap_at_aligned": -np.log(aligned),
            "capability_gap_target": -np.log(moved[1]),
            "logit_lipschitz": np.sqrt(0.5),
            "quadratic_growth_safety": 0.25,
        }
    )
    bounds = separation(constants, ParameterConstraint(radius))
    for quantity, truth in (
        (Quantity.RADIUS, radius),
        (Quantity.SAFETY_GAP, 0.5 * 0.25 * radius**2),
    ):
        b = pick(bounds, "(d)", quantity=quantity)
        assert_valid(b, truth)
        assert_tight(b, truth)
        assert_mutant_caught(b, truth)


def test_case_one_moves_at_least_the_forced_radius(
    rng, random_tabular, assert_valid, case_one_policy
) -> None:
    n = 10_000
    problem = random_tabular(rng, n, aligned="near", same_teacher=True)
    lam = 10.0 ** rng.uniform(-3, 3, size=n)
    policy = case_one_policy(problem, lam)
    with np.errstate(divide="ignore", invalid="ignore"):
        step = np.log(policy) - np.log(problem.aligned)
        step -= step.mean(axis=-1, keepdims=True)
        moved = np.sqrt((step**2).sum(axis=(-2, -1)))
    moved = np.where(np.isnan(moved), np.inf, moved)
    (b,) = [x for x in separation(problem, LossConstraint(lam=lam)) if x.quantity == "radius"]
    assert assert_valid(b, moved) == n
    assert (np.asarray(b.value) > 0).mean() > 0.5


# --- crossover -----------------------------------------------------------------------------------


def test_crossover_is_where_the_two_guarantees_meet() -> None:
    constants = Constants({"logit_lipschitz": 3.0, "loss_range": 5.0, "tv": 0.02})
    radius = crossover_radius(constants)
    assert radius == pytest.approx(2 * np.sqrt(5.0 * 0.02) / 3.0)
    floor = Constants({"logit_lipschitz": 3.0, "proxy_floor": 0.08})
    assert crossover_radius(floor) == pytest.approx(np.sqrt(2 * 0.08) / 3.0)
    line = QuadraticProblem(H_s=[[1.0]], H_f=[[1.0]], theta_s=[0.0], theta_f=[1.0])
    assert crossover_radius(line) == 0.0
    with pytest.raises(ValueError, match="logit_lipschitz"):
        crossover_radius(Constants({"proxy_floor": 0.1}))
    with pytest.raises(ValueError, match="proxy_floor"):
        crossover_radius(Constants({"logit_lipschitz": 0.1}))


@pytest.mark.parametrize("aligned", ["safety", "near"])
def test_at_the_crossover_the_data_free_guarantee_equals_the_floor(
    rng, random_tabular, pick, aligned
) -> None:
    problem = random_tabular(rng, 500, aligned=aligned)
    radius = np.asarray(crossover_radius(problem))
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = problem.safety.context * np.where(
            problem.safety.context > 0,
            case_floor(problem),
            0.0,
        )
    floor = np.where(problem.safety.context > 0, shares, 0.0).sum(axis=-1)
    use = np.isfinite(radius) & (radius > 0)
    assert use.sum() > 100
    guarantee = pick(
        safety_within_radius(problem, ParameterConstraint(np.where(use, radius, 1.0))), "(A-J)"
    )
    np.testing.assert_allclose(np.asarray(guarantee.value)[use], floor[use], rtol=1e-9, atol=1e-18)
    assert np.isinf(floor[np.isinf(radius)]).all()


def case_floor(problem: TabularProblem) -> np.ndarray:
    """KL of the safety target to where Case I ends for lam -> inf, context by context."""
    ends = np.where(
        (problem.proxy.context > 0)[..., None],
        problem.proxy.target,
        np.where((problem.task.context > 0)[..., None], problem.task.target, problem.aligned),
    ).astype(np.longdouble)
    p = problem.safety.target.astype(np.longdouble)
    terms = np.where(p > 0, p * np.log(p / ends), 0.0) - p + ends
    return terms.sum(axis=-1).astype(float)


def test_empty_overlap_known_from_constants_is_free() -> None:
    known = {"overlap_task_mass": 0.0, "tv_teacher": 0.0, "coverage_ratio": 2.0}
    free = separation(Constants(known), LossConstraint(lam=1.0))[:2]
    assert [(b.value, b.status) for b in free] == [(0.0, Status.EXACT)] * 2
    estimated = known | {"overlap_task_mass": Constant(0.0, "estimated")}
    free = separation(Constants(estimated), LossConstraint(lam=1.0))[:2]
    assert [b.status for b in free] == [Status.ESTIMATED] * 2
    for broken in ({"coverage_ratio": np.inf}, {"tv_teacher": 0.1}, {"optimality_slack": 0.1}):
        bounds = separation(Constants(known | broken), LossConstraint(lam=1.0))[:2]
        assert [b.status for b in bounds] == [Status.NOT_APPLICABLE] * 2
