"""T6, T7, T8 and the crossover radius: validity, tightness, mutants, zeros, batches, statuses."""

from __future__ import annotations

import numpy as np
import pytest

from theory.bound import Direction, Quantity, Status
from theory.parameter_constraint import (
    capability_within_radius,
    safety_within_radius,
    separation,
)
from theory.problem import Constant, Constants, Distribution, QuadraticProblem, TabularProblem
from theory.strategy import Hybrid, LossConstraint, ParameterConstraint

UPPER, LOWER, EQUALITY = Direction.UPPER, Direction.LOWER, Direction.EQUALITY
# SLSQP stops at a relative change of 1e-16 in an objective scaled to order 1: its feasible point is
# above the true minimum by at most about this share of the gap at the start.
OPTIMISER = 1e-7


# --- T6 and T7 on tables -------------------------------------------------------------------------


@pytest.mark.parametrize("aligned", ["safety", "near", "random"])
@pytest.mark.parametrize("strategy", ["parameter", "hybrid"])
def test_what_holds_in_the_whole_ball_holds_for_any_policy_there(
    rng, random_tabular, policy_gaps, assert_valid, aligned, strategy, radii, move_in_ball
) -> None:
    n = 10_000
    problem = random_tabular(rng, n, aligned=aligned)
    radius = radii(rng, n)
    chosen = (
        ParameterConstraint(radius) if strategy == "parameter" else Hybrid(lam=1.0, radius=radius)
    )
    bounds = [
        *safety_within_radius(problem, chosen),
        *(b for b in capability_within_radius(problem, chosen) if b.direction is LOWER),
        *(b for b in separation(problem, chosen)),
    ]
    for _ in range(4):
        policy = move_in_ball(rng, problem.aligned, radius)
        safety, _proxy, task = policy_gaps(problem, policy)
        truth = {Quantity.SAFETY_GAP: safety, Quantity.CAPABILITY_GAP: task}
        applied = [assert_valid(b, truth[b.quantity]) for b in bounds if b.quantity in truth]
        assert sum(count == n for count in applied) >= 9


@pytest.mark.parametrize("aligned", ["safety", "near"])
def test_case_two_minimum_of_a_table_lies_between_the_two_sides(
    rng, random_tabular, policy_gaps, instance, minimise_in_ball, assert_valid, aligned
) -> None:
    problem = random_tabular(rng, 40, contexts=3, responses=3, aligned=aligned)
    radius = 10.0 ** rng.uniform(-2, 1, size=40)
    policies = np.stack(
        [minimise_in_ball(instance(problem, i), radius[i]) for i in range(len(radius))]
    )
    safety, _, task = policy_gaps(problem, policies)
    strategy = ParameterConstraint(radius)
    for b in safety_within_radius(problem, strategy):
        assert_valid(b, safety)
    scale = OPTIMISER * np.where(np.isfinite(task), problem.capability_gap_at_aligned, 0.0)
    for b in capability_within_radius(problem, strategy):
        assert_valid(b, task, atol=1e-18 + scale if b.direction is UPPER else 1e-18)
    for b in separation(problem, strategy):
        if b.quantity is Quantity.CAPABILITY_GAP:
            assert_valid(b, task)


# form, aligned coin, safety coin, task coin, radius, share of the context
SAFETY_WITNESSES = {
    "smooth": (0.5, 0.5, 1.0, 0.05, 1.0),
    "(A-J)": (0.5, 0.5, 1.0, 0.05, 1.0),
    "Lipschitz": (0.005, 0.005, 1.0, 490.0, 1.0),
}


@pytest.mark.parametrize("form", SAFETY_WITNESSES)
def test_safety_upper_bounds_of_a_table_are_tight(
    policy_gaps, pick, assert_valid, assert_tight, assert_mutant_caught, form, coin, moved_coin
) -> None:
    aligned, safety, task, radius, share = SAFETY_WITNESSES[form]
    problem = coin(aligned, task, safety=safety, share=share)
    truth = policy_gaps(problem, moved_coin(aligned, radius, task))[0]
    bounds = safety_within_radius(problem, ParameterConstraint(radius))
    b = pick([b for b in bounds if b.form == form], direction=UPPER)
    assert_valid(b, truth)
    assert_tight(b, truth)
    assert_mutant_caught(b, truth)


def test_misaligned_start_costs_a_slope_that_is_attained(
    policy_gaps, pick, assert_valid, coin, moved_coin
) -> None:
    # mu_s is certain of answer 0, P_theta_s almost certain of 1: every step costs its full slope.
    problem = coin(1.0 - 1e-9, 1.0, safety=0.0)
    radius = 3.0
    truth = policy_gaps(problem, moved_coin(1.0 - 1e-9, radius, 1.0))[0]
    start = problem.safety_gap_at_aligned
    bounds = safety_within_radius(problem, ParameterConstraint(radius))
    for form in ("Lipschitz", "smooth", "(A-J)"):
        b = pick([b for b in bounds if b.form == form])
        assert_valid(b, truth)
        if form == "Lipschitz":
            assert (b.value - start) / (truth - start) < 1.02
            assert b.value * 0.98 < truth


def capability_witnesses() -> dict[str, tuple[Direction, float, float, float]]:
    """form -> direction, aligned coin, task coin, radius."""
    return {
        # Far from its target a cross-entropy is straight; this radius goes half the way.
        "convex upper": (UPPER, np.exp(-200.0), 0.5, 100.0 / np.sqrt(2.0)),
        "smooth upper": (UPPER, 0.5, 0.51, 0.005),
        "convex": (LOWER, 1e-7, 1.0, 4.0),
        "smooth, local": (LOWER, 0.5, 1.0, 0.01),
        "smooth": (LOWER, 0.5, 0.501, 0.0002),
        "(A-J)": (LOWER, 1e-7, 1.0, 4.0),
    }


@pytest.mark.parametrize("name", capability_witnesses())
def test_capability_bounds_of_a_table_are_tight(
    policy_gaps, pick, assert_valid, assert_tight, assert_mutant_caught, name, coin, moved_coin
) -> None:
    direction, aligned, task, radius = capability_witnesses()[name]
    problem = coin(aligned, task)
    truth = policy_gaps(problem, moved_coin(aligned, radius, task))[2]
    bounds = capability_within_radius(problem, ParameterConstraint(radius))
    form = name.removesuffix(" upper")
    b = pick([b for b in bounds if b.form == form], direction=direction)
    assert_valid(b, truth)
    assert_tight(b, truth)
    assert_mutant_caught(b, truth)


# --- T6 and T7 on quadratics ---------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["parameter", "hybrid"])
def test_quadratic_bounds_hold_against_a_forty_digit_solution(
    rng, random_quadratic, assert_valid, strategy, quadratic_truth
) -> None:
    n = 150
    problem = random_quadratic(rng, n)
    scale = np.linalg.norm(problem.displacement, axis=-1)
    radius = scale * 10.0 ** rng.uniform(-3, 1, size=n)
    lam = 10.0 ** rng.uniform(-3, 3, size=n)
    hybrid = strategy == "hybrid"
    chosen = Hybrid(lam=lam, radius=radius) if hybrid else ParameterConstraint(radius)
    safety, task, moved = np.transpose(
        [quadratic_truth(problem, i, radius[i], lam[i] if hybrid else 0.0) for i in range(n)]
    )
    # H itself is rounded to float64: curvature below 1e-14 of the largest is noise.
    noise = 1e-13 * np.array([np.linalg.norm(h, 2) for h in problem.H_f]) * scale**2
    truth = {
        Quantity.SAFETY_GAP: safety,
        Quantity.CAPABILITY_GAP: task,
        Quantity.RADIUS: moved,
    }
    bounds = [
        *safety_within_radius(problem, chosen),
        *capability_within_radius(problem, chosen),
        *separation(problem, chosen),
    ]
    applied = {
        (b.statement, b.form, b.direction, b.quantity): assert_valid(
            b,
            truth[b.quantity],
            atol=noise if b.quantity is Quantity.CAPABILITY_GAP else 1e-18,
        )
        for b in bounds
    }
    assert sum(count == n for count in applied.values()) >= (6 if hybrid else 9), applied


def test_quadratic_bounds_hold_on_thousands_of_points_of_the_ball(
    rng, random_quadratic, assert_valid, radii
) -> None:
    n = 10_000
    problem = random_quadratic(rng, n)
    radius = radii(rng, n)
    chosen = Hybrid(lam=1.0, radius=radius)
    step = rng.normal(size=problem.theta_s.shape)
    share = np.where(rng.random(n) < 0.5, 1.0, rng.random(n))
    step *= (share * radius / np.linalg.norm(step, axis=-1))[:, None]
    left = problem.displacement - step
    safety = 0.5 * np.einsum("ni,nij,nj->n", step, problem.H_s, step)
    task = 0.5 * np.einsum("ni,nij,nj->n", left, problem.H_f, left)
    truth = {Quantity.SAFETY_GAP: safety, Quantity.CAPABILITY_GAP: task}
    size = np.linalg.norm(problem.displacement, axis=-1) ** 2
    noise = 1e-14 * np.linalg.norm(problem.H_f, 2, axis=(-2, -1)) * size
    for b in [
        *safety_within_radius(problem, chosen),
        *(b for b in capability_within_radius(problem, chosen) if b.direction is LOWER),
    ]:
        assert_valid(b, truth[b.quantity], atol=noise)


def line(h_s: float, h_f: float, distance: float) -> QuadraticProblem:
    return QuadraticProblem(H_s=[[h_s]], H_f=[[h_f]], theta_s=[0.0], theta_f=[distance])


@pytest.mark.parametrize(
    ("statement", "form", "direction"),
    [
        (safety_within_radius, "smooth", UPPER),
        (safety_within_radius, "quadratic growth", LOWER),
        (capability_within_radius, "convex", UPPER),
        (capability_within_radius, "smooth", UPPER),
        (capability_within_radius, "Polyak-Lojasiewicz", UPPER),
        (capability_within_radius, "convex", LOWER),
        (capability_within_radius, "smooth", LOWER),
    ],
)
def test_in_one_dimension_a_quadratic_meets_its_bounds(
    assert_valid, assert_tight, assert_mutant_caught, statement, form, direction
) -> None:
    h_s, h_f, distance, radius = 3.0, 0.7, 2.0, 1.2
    bounds = statement(line(h_s, h_f, distance), ParameterConstraint(radius))
    (b,) = [b for b in bounds if b.form == form and b.direction is direction]
    truth = (
        0.5 * h_s * radius**2
        if b.quantity is Quantity.SAFETY_GAP
        else 0.5 * h_f * (distance - radius) ** 2
    )
    assert_valid(b, truth)
    assert assert_tight(b, truth) < 1.0 + 1e-9
    assert_mutant_caught(b, truth)


def test_safety_lower_bound_stops_at_the_task_optimum(pick) -> None:
    bounds = safety_within_radius(line(3.0, 0.7, 2.0), ParameterConstraint(50.0))
    b = pick(bounds, "quadratic growth", direction=LOWER)
    assert b.value == pytest.approx(0.5 * 3.0 * 2.0**2)


# --- zeros, batches, statuses --------------------------------------------------------------------


def test_impossible_answers_stay_impossible_and_infinite(coin) -> None:
    # The aligned model gives the task's answer probability 0: no finite radius mends that.
    problem = coin(0.0, 1.0)
    strategy = ParameterConstraint(5.0)
    by = {(b.form, b.direction): b for b in capability_within_radius(problem, strategy)}
    assert by["(A-J)", LOWER].value == np.inf
    assert by["convex", UPPER].value == np.inf
    assert by["convex", UPPER].status is Status.VACUOUS
    # And an answer that safety data needs, but the aligned model never gives.
    problem = coin(0.0, 0.0, safety=0.5)
    for b in safety_within_radius(problem, strategy):
        assert b.direction is LOWER or (b.value == np.inf and b.status is Status.VACUOUS)


def test_unused_contexts_may_hold_anything() -> None:
    problem = TabularProblem(
        safety=Distribution([1.0, 0.0], [[0.5, 0.5], [1.0, 0.0]]),
        task=Distribution([1.0, 0.0], [[0.25, 0.75], [0.0, 1.0]]),
        aligned=[[0.5, 0.5], [1.0, 0.0]],
    )
    strategy = ParameterConstraint(100.0)
    upper = {b.form: b for b in capability_within_radius(problem, strategy) if b.direction is UPPER}
    assert upper["convex"].value == 0.0
    assert separation(problem, strategy)[1].value == 0.0


@pytest.mark.parametrize("kind", ["tabular", "quadratic"])
@pytest.mark.parametrize("statement", [safety_within_radius, capability_within_radius, separation])
def test_batch_equals_loop(
    rng, random_tabular, random_quadratic, instance, statement, kind, radii
) -> None:
    n = 12
    problem = (
        random_tabular(rng, n, aligned="random") if kind == "tabular" else random_quadratic(rng, n)
    )
    radius, lam = radii(rng, n), 10.0 ** rng.uniform(-2, 2, size=n)
    for batch, one in (
        (ParameterConstraint(radius), lambda i: ParameterConstraint(radius[i])),
        (Hybrid(lam=lam, radius=radius), lambda i: Hybrid(lam=lam[i], radius=radius[i])),
        (LossConstraint(lam=lam), lambda i: LossConstraint(lam=lam[i])),
        (ParameterConstraint(0.3), lambda i: ParameterConstraint(0.3)),
        (Hybrid(lam=lam, radius=0.3), lambda i: Hybrid(lam=lam[i], radius=0.3)),
    ):
        together = statement(problem, batch)
        for i in range(n):
            alone = statement(instance(problem, i), one(i))
            assert [(b.form, b.direction) for b in alone] == [
                (b.form, b.direction) for b in together
            ]
            for a, b in zip(alone, together, strict=True):
                value = np.broadcast_to(b.value, (n,))[i]
                status = np.broadcast_to(b.status, (n,))[i]
                assert a.value == pytest.approx(value, rel=1e-9, abs=1e-15)
                assert str(a.status) == str(status)


LANGUAGE_MODEL = {
    "capability_gap_at_aligned": 0.8,
    "logit_lipschitz": 2.0,
    "lipschitz_safety": 1.5,
    "smoothness_safety": 4.0,
    "quadratic_growth_safety": 0.5,
    "gradient_norm_task": 0.9,
    "smoothness_task": 3.0,
    "strong_convexity_task": 0.0,
    "distance_to_task_optimum": 1.0,
    "pl_task": 0.2,
}


def test_constants_give_the_formulas() -> None:
    r = 0.1
    strategy = ParameterConstraint(r)
    constants = Constants(LANGUAGE_MODEL)
    safety = {(b.form, b.direction): b.value for b in safety_within_radius(constants, strategy)}
    assert safety == pytest.approx(
        {
            ("Lipschitz", UPPER): 1.5 * r,
            ("smooth", UPPER): 0.5 * 4.0 * r**2,
            ("(A-J), Lipschitz", UPPER): 2 * 2.0 * r,
            ("(A-J)", UPPER): 0.5 * 2.0**2 * r**2,
            ("quadratic growth, f_f is convex", LOWER): 0.25 * r**2,
            ("quadratic growth, f_f is beta_f-smooth", LOWER): 0.25 * r**2,
        },
        rel=1e-12,
    )
    root = np.sqrt(0.8)
    task = {(b.form, b.direction): b.value for b in capability_within_radius(constants, strategy)}
    assert task == pytest.approx(
        {
            ("convex", UPPER): 0.9 * 0.8,
            ("smooth", UPPER): 0.8 - 0.9 * r + 1.5 * r**2,
            ("Polyak-Lojasiewicz", UPPER): (root - r * np.sqrt(0.1)) ** 2,
            ("convex", LOWER): 0.8 - 0.9 * r,
            ("smooth, local", LOWER): 0.8 - 0.9 * r - 1.5 * r**2,
            ("smooth", LOWER): (root - r * np.sqrt(1.5)) ** 2,
            ("(A-J)", LOWER): 0.8 - 4.0 * r,
        },
        rel=1e-12,
    )


def test_near_optimal_start_and_slack_are_paid_for() -> None:
    constants = Constants(LANGUAGE_MODEL | {"safety_gap_at_aligned": 0.3, "optimality_slack": 0.05})
    strategy = ParameterConstraint(0.1)
    safety = {b.form: b for b in safety_within_radius(constants, strategy)}
    assert safety["(A-J), Lipschitz"].value == pytest.approx(0.3 + 0.4)
    # J^2 r^2 / 2 needs P_theta_s = mu_s, and smoothness needs the gradient at theta_s.
    assert "(A-J)" not in safety
    assert "smooth" not in safety
    assert "optimality_slack" in safety["quadratic growth"].failed
    upper = [b for b in capability_within_radius(constants, strategy) if b.direction is UPPER]
    assert {b.form for b in upper} == {"convex", "smooth", "Polyak-Lojasiewicz"}
    assert all(b.terms["optimiser slack"] == 0.05 for b in upper)


def test_measured_displacement_stands_in_for_the_radius() -> None:
    constants = Constants(LANGUAGE_MODEL | {"displacement": Constant(0.05, "estimated")})
    for strategy in (LossConstraint(lam=1.0), ParameterConstraint(0.1)):
        safety = {b.form: b for b in safety_within_radius(constants, strategy)}
        assert safety["(A-J)"].value == pytest.approx(0.5 * 4 * 0.05**2)
        assert safety["(A-J)"].status is Status.ESTIMATED
    # A wider one adds nothing, and does not make the bound an estimate.
    wide = Constants(LANGUAGE_MODEL | {"displacement": Constant(0.5, "estimated")})
    safety = {b.form: b for b in safety_within_radius(wide, ParameterConstraint(0.1))}
    assert safety["(A-J)"].status is Status.CERTIFIED
    task = capability_within_radius(constants, LossConstraint(lam=1.0))
    assert {b.form for b in task if b.applies} == {"convex", "smooth, local", "smooth", "(A-J)"}
    assert all(b.direction is LOWER for b in task if b.applies)


def test_status_follows_the_constants() -> None:
    strategy = ParameterConstraint(0.1)

    def status_of(**changed: Constant) -> dict:
        bounds = safety_within_radius(Constants(LANGUAGE_MODEL | changed), strategy)
        return {b.form: (b.status, b.failure_probability) for b in bounds}

    estimated = status_of(logit_lipschitz=Constant(2.0, "estimated"))
    assert estimated["(A-J)"] == (Status.ESTIMATED, 0.0)
    assert estimated["smooth"] == (Status.CERTIFIED, 0.0)
    probable = status_of(
        safety_gap_at_aligned=Constant(0.1, "high_probability", 0.01),
        logit_lipschitz=Constant(2.0, "high_probability", 0.02),
    )
    status, p = probable["(A-J), Lipschitz"]
    assert status is Status.HIGH_PROBABILITY
    assert p == pytest.approx(0.03)
    vacuous = status_of(vocabulary=Constant(2.0), logit_lipschitz=Constant(200.0))
    assert vacuous["(A-J)"][0] is Status.VACUOUS
    far = capability_within_radius(Constants(LANGUAGE_MODEL), ParameterConstraint(10.0))
    lower = {b.form: b for b in far if b.direction is LOWER}
    assert lower["(A-J)"].status is Status.VACUOUS
    assert lower["(A-J)"].value == 0.0


COIN = TabularProblem(
    safety=Distribution([1.0], [[0.5, 0.5]]), task=Distribution([1.0], [[0.0, 1.0]])
)
LINE, FLAT_LINE = line(1.0, 1.0, 1.0), line(0.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("statement", "problem", "strategy", "words"),
    [
        (safety_within_radius, Constants({}), LossConstraint(lam=1.0), "needs a radius"),
        (safety_within_radius, Constants({}), ParameterConstraint(1.0), "logit_lipschitz"),
        (safety_within_radius, Constants({}), ParameterConstraint(1.0), "quadratic_growth_safety"),
        (safety_within_radius, COIN, LossConstraint(lam=1.0), "needs a radius"),
        (safety_within_radius, COIN, ParameterConstraint(1.0), "A-QG"),
        (safety_within_radius, FLAT_LINE, ParameterConstraint(1.0), "singular"),
        (safety_within_radius, LINE, Hybrid(1.0, 1.0), "parameter constraint"),
        (capability_within_radius, COIN, LossConstraint(lam=1.0), "needs a radius"),
        (capability_within_radius, COIN, Hybrid(1.0, 1.0), "another objective"),
        (capability_within_radius, LINE, ParameterConstraint(1.0), "logits"),
        (capability_within_radius, Constants({}), ParameterConstraint(1.0), "capability_gap"),
        (separation, Constants({}), ParameterConstraint(1.0), "logit_lipschitz"),
        (separation, Constants({}), LossConstraint(lam=1.0), "overlap_task_mass"),
        (separation, LINE, LossConstraint(lam=1.0), "not orthogonal"),
        (separation, COIN, LossConstraint(lam=1.0), "disagree"),
        (separation, COIN, ParameterConstraint(1.0), "no capability target"),
    ],
)
def test_what_does_not_apply_names_what_is_missing(statement, problem, strategy, words) -> None:
    missing = [b for b in statement(problem, strategy) if b.status == Status.NOT_APPLICABLE]
    assert any(words in b.failed for b in missing), [b.failed for b in missing]
    assert all(b.value == (np.inf if b.direction is UPPER else 0.0) for b in missing)
