"""T10 and T11: what no policy beats. Validity, tightness, mutants, zeros, batches, statuses."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from theory.bound import Direction, Quantity, Status
from theory.limits import (
    best_coupling,
    capability_floor_given_safety,
    disagreement_weighted_overlap,
    front_floor,
    minimax,
    minimax_price,
    no_free_lunch,
    soft_overlap,
)
from theory.problem import Constant, Constants, Distribution, QuadraticProblem, TabularProblem
from theory.strategy import Hybrid, LossConstraint, ParameterConstraint


def policies(rng: np.random.Generator, problem: TabularProblem):
    """Random policies, and some that try to please both data sets."""
    task, safety = problem.task.target, problem.safety.target
    n = len(task)
    yield rng.dirichlet(np.ones(task.shape[-1]), size=task.shape[:-1])
    for _ in range(4):
        t = rng.random((n, 1, 1)) if rng.random() < 0.5 else rng.random((*task.shape[:-1], 1))
        yield t * task + (1 - t) * safety
        geometric = (task + 1e-9) ** t * (safety + 1e-9) ** (1 - t)
        yield geometric / geometric.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("strategy", ["loss", "parameter", "hybrid"])
def test_no_policy_beats_the_limits_whatever_the_strategy(
    rng, random_tabular, policy_gaps, assert_valid, strategy
) -> None:
    n = 10_000
    problem = random_tabular(rng, n)
    lam = 10.0 ** rng.uniform(-4, 4, size=n)
    chosen, weight = {
        "loss": (LossConstraint(lam=lam), lam),
        "parameter": (ParameterConstraint(1.0), np.ones(n)),
        "hybrid": (Hybrid(lam=lam, radius=1.0), lam),
    }[strategy]
    bounds = [b for b in no_free_lunch(problem, chosen) if np.all(b.applies)]
    assert [b.quantity for b in bounds] == [Quantity.WEIGHTED_SUM, Quantity.SQRT_SUM]
    for policy in policies(rng, problem):
        safety, _, task = policy_gaps(problem, policy)
        assert_valid(bounds[0], task + weight * safety, atol=1e-18 * (1 + weight))
        assert_valid(bounds[1], np.sqrt(task) + np.sqrt(safety), atol=2e-9)


def test_weighted_sum_is_attained_by_the_mixture(
    rng, random_tabular, policy_gaps, case_one_policy, assert_valid, assert_mutant_caught
) -> None:
    n = 10_000
    problem = random_tabular(rng, n, perfect_proxy=True)
    lam = 10.0 ** rng.uniform(-4, 4, size=n)
    safety, _, task = policy_gaps(problem, case_one_policy(problem, lam))
    truth = task + lam * safety
    b = no_free_lunch(problem, LossConstraint(lam=lam))[0]
    assert assert_valid(b, truth, atol=1e-17 * (1 + lam)) == n
    used = truth > 1e-6
    np.testing.assert_allclose(np.asarray(b.value)[used], truth[used], rtol=1e-9)
    assert_mutant_caught(b, truth, atol=1e-17 * (1 + lam))


def test_proxy_plays_no_part_in_the_limits(rng, random_tabular) -> None:
    problem = random_tabular(rng, 200)
    perfect = TabularProblem(safety=problem.safety, task=problem.task, aligned=problem.aligned)
    for a, b in zip(
        no_free_lunch(problem, LossConstraint(lam=2.0)),
        no_free_lunch(perfect, LossConstraint(lam=2.0)),
        strict=True,
    ):
        np.testing.assert_array_equal(a.value, b.value)


def opposed_coins(half_gap: float) -> TabularProblem:
    return TabularProblem(
        safety=Distribution([1.0], [[0.5 + half_gap, 0.5 - half_gap]]),
        task=Distribution([1.0], [[0.5 - half_gap, 0.5 + half_gap]]),
    )


def test_overlap_limit_is_tight_for_coins_that_disagree_a_little(
    policy_gaps, pick, assert_valid, assert_tight, assert_mutant_caught
) -> None:
    problem = opposed_coins(0.05)
    safety, _, task = policy_gaps(problem, np.array([[0.5, 0.5]]))
    b = pick(no_free_lunch(problem, LossConstraint(lam=1.0)), "overlap")
    truth = np.sqrt(safety) + np.sqrt(task)
    assert_valid(b, truth)
    assert_tight(b, truth)
    assert_mutant_caught(b, truth)
    floor = pick(capability_floor_given_safety(problem, safety), "overlap")
    assert_valid(floor, task)
    assert_tight(floor, task)
    assert_mutant_caught(floor, task)


def test_quadratic_limits_hold_for_any_parameters(rng, random_quadratic, assert_valid) -> None:
    n = 1200
    problem = random_quadratic(rng, n)
    lam = 10.0 ** rng.uniform(-3, 3, size=n)
    weighted, overlap, parametric = no_free_lunch(problem, LossConstraint(lam=lam))
    assert overlap.status is Status.NOT_APPLICABLE
    d = problem.displacement
    size = np.linalg.norm(d, axis=-1) ** 2
    noise = 1e-13 * np.linalg.norm(problem.H_f, 2, axis=(-2, -1)) * size
    applied = 0
    for share in (0.0, 0.3, 0.9, 1.0, rng.random((n, 1)), rng.normal(size=d.shape)):
        x = share * d
        left = d - x
        safety = 0.5 * np.einsum("ni,nij,nj->n", x, problem.H_s, x)
        task = 0.5 * np.einsum("ni,nij,nj->n", left, problem.H_f, left)
        assert_valid(weighted, task + lam * safety, atol=noise)
        applied += assert_valid(
            parametric, np.sqrt(np.maximum(task, 0)) + np.sqrt(safety), atol=np.sqrt(noise)
        )
        s = safety * (1.0 + 1e-9)
        for b in capability_floor_given_safety(problem, s):
            assert_valid(b, task, atol=noise + 1e-7 * task)
    assert applied > 1800


def test_quadratic_weighted_sum_is_the_parallel_sum(
    rng, random_quadratic, assert_mutant_caught
) -> None:
    problem = random_quadratic(rng, 200, full_rank=True)
    lam = 10.0 ** rng.uniform(-2, 2, size=200)
    inverse = np.linalg.inv
    parallel = inverse(inverse(problem.H_f) + inverse(lam[:, None, None] * problem.H_s))
    truth = 0.5 * np.einsum("ni,nij,nj->n", problem.displacement, parallel, problem.displacement)
    b = no_free_lunch(problem, LossConstraint(lam=lam))[0]
    np.testing.assert_allclose(b.value, truth, rtol=1e-6)
    assert_mutant_caught(b, truth)


def test_rounding_never_lifts_the_quadratic_front_above_the_parallel_sum() -> None:
    # H_s sees one direction that H_f sees too, and one alone; whitening mixes them by rounding.
    mp = pytest.importorskip("mpmath")
    rng = np.random.default_rng(0)
    checked = 0
    with mp.workdps(40):
        for _ in range(40):
            turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
            least = 10.0 ** rng.uniform(-5, -1)
            H_s = turn @ np.diag([1.0, least, 0.0]) @ turn.T
            factor = rng.normal(size=(3, 3))
            H_f = factor @ factor.T
            H_s, H_f = 0.5 * (H_s + H_s.T), 0.5 * (H_f + H_f.T)
            d, lam = rng.normal(size=3), float(10.0 ** rng.uniform(-2, 4))
            problem = QuadraticProblem(H_s, H_f, np.zeros(3), d)
            b = no_free_lunch(problem, LossConstraint(lam=lam))[0]
            task, safety, off = (mp.matrix(a.tolist()) for a in (H_f, H_s, d))
            step = mp.lu_solve(task + mp.mpf(lam) * safety, task * off)
            left = off - step
            truth = ((left.T * task * left)[0] + mp.mpf(lam) * (step.T * safety * step)[0]) / 2
            assert mp.mpf(b.value) <= truth
            checked += mp.mpf(b.value) > truth * (1 - mp.mpf("1e-5"))
    assert checked > 30


def test_parametric_limit_is_attained_on_a_line(
    pick, assert_valid, assert_tight, assert_mutant_caught
) -> None:
    h_s, h_f, d, x = 0.5, 2.0, 3.0, 1.3
    problem = QuadraticProblem(H_s=[[h_s]], H_f=[[h_f]], theta_s=[0.0], theta_f=[d])
    safety, task = 0.5 * h_s * x**2, 0.5 * h_f * (d - x) ** 2
    # In the plain sum the steeper loss counts in full, so the witness sits at theta_f ...
    b = pick(no_free_lunch(problem, LossConstraint(lam=1.0)), "parametric")
    at_task = np.sqrt(0.5 * h_s * d**2)
    assert_valid(b, at_task)
    assert assert_tight(b, at_task) < 1 + 1e-9
    assert_mutant_caught(b, at_task)
    # ... and with the exchange rate kept every point of the segment is one.
    floor = pick(capability_floor_given_safety(problem, safety), "parametric")
    assert_valid(floor, task)
    assert assert_tight(floor, task) < 1 + 1e-9
    assert_mutant_caught(floor, task)


def test_front_floor_is_met_by_the_mixture_and_beaten_by_nothing(
    rng, random_tabular, policy_gaps, case_one_policy, assert_valid, assert_mutant_caught
) -> None:
    n = 10_000
    problem = random_tabular(rng, n)
    perfect = TabularProblem(safety=problem.safety, task=problem.task)
    lam = 10.0 ** rng.uniform(-2, 2, size=n)
    safety, _, task = policy_gaps(perfect, case_one_policy(perfect, lam))
    # The oracle knows s to about 1e-18, and at s = 0 the front may be steeper than any lam.
    floors = capability_floor_given_safety(problem, safety + 1e-18)
    (front,) = [b for b in floors if b.form == "front"]
    # The front's slope is -lam: an error e in s is lam e in the floor.
    noise = lam * 1e-12 * safety + 1e-15
    assert_valid(front, task, atol=noise)
    used = task > 1e-6
    np.testing.assert_allclose(np.asarray(front.value)[used], task[used], rtol=1e-6)
    assert_mutant_caught(front, task, atol=noise)
    for policy in policies(rng, problem):
        safety, _, task = policy_gaps(problem, policy)
        for b in capability_floor_given_safety(problem, np.where(np.isinf(safety), 1e6, safety)):
            assert_valid(b, task, rtol=1e-7, atol=1e-15)


def test_floor_is_nothing_when_safety_may_be_lost_and_everything_when_it_may_not() -> None:
    problem = opposed_coins(0.5)
    assert front_floor(problem, np.inf) == 0.0
    assert front_floor(problem, 0.0) == np.inf
    assert front_floor(opposed_coins(0.25), 0.0) == pytest.approx(0.5 * np.log(3))
    line = QuadraticProblem(H_s=[[1.0]], H_f=[[2.0]], theta_s=[0.0], theta_f=[1.0])
    assert front_floor(line, 0.0) == pytest.approx(1.0)
    assert front_floor(line, 0.5) == 0.0
    with pytest.raises(ValueError, match="negative"):
        capability_floor_given_safety(problem, -0.1)


# --- soft overlap --------------------------------------------------------------------------------


def smooth_policy(rng: np.random.Generator, points: np.ndarray, responses: int) -> np.ndarray:
    """A policy ``[X, V]`` whose logits are linear in the embedding of the context."""
    weights = rng.normal(size=(points.shape[1], responses)) * 10.0 ** rng.uniform(-3, 1)
    logits = points @ weights + rng.normal(size=responses)
    p = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return p / p.sum(axis=-1, keepdims=True)


def test_soft_overlap_holds_for_policies_as_smooth_as_it_assumes(
    rng, random_tabular, instance, policy_gaps, assert_valid
) -> None:
    problems = random_tabular(rng, 60, contexts=5, responses=3)
    positive = 0
    for i in range(60):
        problem = instance(problems, i)
        points = rng.normal(size=(5, 2))
        distances = np.linalg.norm(points[:, None] - points[None], axis=-1)
        for _ in range(8):
            policy = smooth_policy(rng, points, 3)
            change = 0.5 * np.abs(policy[:, None] - policy[None]).sum(axis=-1)
            apart = ~np.eye(5, dtype=bool)
            lipschitz = float((change[apart] / distances[apart]).max())
            safety, _, task = policy_gaps(problem, policy)
            truth = np.sqrt(safety) + np.sqrt(task)
            best = soft_overlap(problem, distances, lipschitz)
            product = np.outer(problem.safety.context, problem.task.context)
            given = soft_overlap(problem, distances, lipschitz, coupling=product)
            assert_valid(best, truth, atol=2e-9)
            assert_valid(given, truth, atol=2e-9)
            # The solver is exact to 1e-7 of the mass, of which a gain is at most 1 nat.
            assert given.value**2 <= best.value**2 + 2e-7
            positive += best.value > 0.05
    assert positive > 120


def test_best_coupling_is_feasible_and_at_least_as_good_as_random_ones(
    rng, random_tabular, instance
) -> None:
    problems = random_tabular(rng, 30, contexts=4, responses=3)
    for i in range(30):
        problem = instance(problems, i)
        distances = rng.random((4, 4))
        gamma = best_coupling(problem, distances, 0.3)
        assert (gamma >= 0).all()
        assert (gamma.sum(axis=1) <= problem.safety.context).all()
        assert (gamma.sum(axis=0) <= problem.task.context).all()
        best = soft_overlap(problem, distances, 0.3, coupling=gamma).value
        for _ in range(20):
            other = rng.random((4, 4)) * np.outer(problem.safety.context, problem.task.context)
            assert soft_overlap(problem, distances, 0.3, coupling=other).value <= best + 1e-9


def test_soft_overlap_sharpens_into_overlap_when_contexts_are_far_apart(
    rng, random_tabular, instance
) -> None:
    problems = random_tabular(rng, 20, contexts=4, responses=3)
    far = 10.0 * (1 - np.eye(4))
    for i in range(20):
        problem = instance(problems, i)
        kappa = float(disagreement_weighted_overlap(problem))
        assert soft_overlap(problem, far, 1.0).value == pytest.approx(np.sqrt(2) * kappa, abs=1e-9)


@pytest.mark.parametrize("drift", [0.0, 0.04])
def test_soft_overlap_is_tight_across_two_contexts(
    policy_gaps, assert_valid, assert_tight, assert_mutant_caught, drift
) -> None:
    # No shared context at all; the policy can tell the two apart by the drift, no more.
    problem = TabularProblem(
        safety=Distribution([1.0, 0.0], [[0.55, 0.45], [0.5, 0.5]]),
        task=Distribution([0.0, 1.0], [[0.5, 0.5], [0.45, 0.55]]),
    )
    b = soft_overlap(problem, 2.0 * (1.0 - np.eye(2)), 0.5 * drift)
    policy = 0.5 + 0.5 * drift * np.array([[1.0, -1.0], [-1.0, 1.0]])
    safety, _, task = policy_gaps(problem, policy)
    truth = np.sqrt(safety) + np.sqrt(task)
    assert no_free_lunch(problem, LossConstraint(lam=1.0))[1].value == 0.0
    assert_valid(b, truth)
    assert_tight(b, truth)
    assert_mutant_caught(b, truth)


def test_soft_overlap_refuses_what_is_not_a_coupling(rng, random_tabular) -> None:
    problem = opposed_coins(0.1)
    with pytest.raises(ValueError, match="more mass"):
        soft_overlap(problem, [[0.0]], 1.0, coupling=[[1.5]])
    with pytest.raises(ValueError, match="non-negative"):
        soft_overlap(problem, [[0.0]], 1.0, coupling=[[-0.5]])
    with pytest.raises(ValueError, match="negative"):
        soft_overlap(problem, [[-1.0]], 1.0)
    with pytest.raises(ValueError, match="one instance"):
        soft_overlap(random_tabular(rng, 3), np.ones((5, 5)), 1.0)


# --- T11 -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("vocabulary", [2, 3, 10])
def test_no_procedure_pays_less_than_the_price(rng, policy_gaps, vocabulary) -> None:
    """The output may be any policy; nature then picks the answer that it likes least."""
    for eta in (1e-3, 0.1, 0.5, 1.0):
        outputs = rng.dirichlet(np.full(vocabulary, rng.choice([0.1, 1, 10])), size=2000)
        hedge = np.geomspace(1e-6, 0.999, 500)[:, None]
        hedged = np.hstack([1 - hedge, np.repeat(hedge / (vocabulary - 1), vocabulary - 1, axis=1)])
        outputs = np.vstack([outputs, np.full(vocabulary, 1.0 / vocabulary), hedged])
        with np.errstate(divide="ignore"):
            surprise = -np.log(outputs)
            # A new context: its safe answer could be any; the rest stays perfect.
            worst = eta * surprise.max(axis=-1)
            price = minimax_price(eta, vocabulary)
            assert (worst >= price * (1 - 1e-12)).all()
            assert worst.min() == pytest.approx(price)  # the uniform answer pays exactly that
            # The same contexts: the teacher was certain of answer 0, and is wrong with share eta.
            keep = 0.0 if eta == 1.0 else (1 - eta) * (np.log(1 - eta) + surprise[:, 0])
            moved = keep + eta * (np.log(eta) + surprise[:, 1:].max(axis=-1))
            worst = np.maximum(moved, surprise[:, 0])
        for kind in ("teacher", "teacher_exact"):
            assert (worst >= minimax_price(eta, vocabulary, kind=kind) * (1 - 1e-12)).all()


@pytest.mark.parametrize("vocabulary", [2, 3, 50])
@pytest.mark.parametrize("eta", [1e-6, 0.03, 0.4, 0.99])
def test_exact_teacher_price_is_reached_by_the_best_hedge(vocabulary, eta) -> None:
    def worst(log_p: float) -> float:
        p = np.exp(log_p)  # probability kept for answers that the teacher never gave
        stay = -np.log1p(-p)
        move = (1 - eta) * (np.log1p(-eta) + stay) + eta * (np.log(eta) - log_p)
        return max(stay, move + eta * np.log(vocabulary - 1))

    best = minimize_scalar(
        worst, bounds=(np.log(eta) - 3, -1e-9), method="bounded", options={"xatol": 1e-12}
    ).fun
    exact_price = float(minimax_price(eta, vocabulary, kind="teacher_exact"))
    assert best == pytest.approx(exact_price, rel=1e-6)
    assert minimax_price(eta, vocabulary, kind="teacher") <= exact_price * (1 + 1e-12)
    assert exact_price >= eta / np.e
    if vocabulary == 3:
        assert minimax_price(eta, vocabulary, kind="teacher") < 0.999 * exact_price


def test_price_is_zero_without_mismatch_and_refuses_nonsense() -> None:
    for kind in ("context", "teacher", "teacher_exact"):
        assert minimax_price(0.0, 5, kind=kind) == 0.0
    np.testing.assert_allclose(
        minimax_price([0.1, 0.2], [4, 8]), [0.1 * np.log(4), 0.2 * np.log(8)]
    )
    assert minimax_price(1.0, 2, kind="teacher") == pytest.approx(np.log(2))
    assert minimax_price(0.2, 5, kind="teacher") == pytest.approx(0.2 * np.log(4))
    with pytest.raises(ValueError, match="total variation"):
        minimax_price(1.1, 5)
    with pytest.raises(ValueError, match="vocabulary"):
        minimax_price(0.1, 1)
    with pytest.raises(ValueError, match="unknown kind"):
        minimax_price(0.1, 5, kind="weather")


def test_price_of_constants_is_about_the_worst_case() -> None:
    known = {"tv": 0.1, "tv_teacher": Constant(0.05, "estimated"), "vocabulary": 8.0}
    bounds = {b.form: b for b in minimax(Constants(known), ParameterConstraint(1.0))}
    assert bounds["context"].value == pytest.approx(0.1 * np.log(8))
    assert bounds["context"].status is Status.CERTIFIED
    assert bounds["teacher"].value == pytest.approx(0.05 * np.log(7))
    assert bounds["teacher"].status is Status.ESTIMATED
    assert {b.scope for b in bounds.values()} == {"worst case"}
    assert {b.direction for b in bounds.values()} == {Direction.LOWER}


def test_price_of_a_fixed_problem_is_only_told() -> None:
    problem = TabularProblem(
        safety=Distribution([0.9, 0.1], [[1.0, 0.0]] * 2),
        proxy=Distribution([1.0, 0.0], [[1.0, 0.0]] * 2),
        task=Distribution([0.5, 0.5], [[0.0, 1.0]] * 2),
    )
    (b,) = minimax(problem, LossConstraint(lam=1.0))
    assert b.status is Status.NOT_APPLICABLE
    assert f"at least {0.1 * np.log(2):.3g} nats" in b.failed
    line = QuadraticProblem(H_s=[[1.0]], H_f=[[1.0]], theta_s=[0.0], theta_f=[1.0])
    assert "fixes D_s" in minimax(line, LossConstraint(lam=1.0))[0].failed
    assert "misses no context" in minimax(opposed_coins(0.1), LossConstraint(lam=1.0))[0].failed


# --- zeros, batches, statuses --------------------------------------------------------------------


def test_certain_and_opposed_targets_leave_no_way_out(policy_gaps) -> None:
    problem = opposed_coins(0.5)
    weighted, overlap, _ = no_free_lunch(problem, LossConstraint(lam=1.0))
    assert weighted.value == pytest.approx(2 * np.log(2))
    assert overlap.value == pytest.approx(np.sqrt(2))
    apart = TabularProblem(
        safety=Distribution([1.0, 0.0], [[1.0, 0.0]] * 2),
        task=Distribution([0.0, 1.0], [[0.0, 1.0]] * 2),
    )
    for b in no_free_lunch(apart, LossConstraint(lam=1.0))[:2]:
        assert b.value == 0.0
        assert b.status is Status.VACUOUS


@pytest.mark.parametrize("kind", ["tabular", "quadratic"])
def test_batch_equals_loop(rng, random_tabular, random_quadratic, instance, kind) -> None:
    n = 15
    problem = random_tabular(rng, n) if kind == "tabular" else random_quadratic(rng, n)
    lam, s = 10.0 ** rng.uniform(-2, 2, size=n), 10.0 ** rng.uniform(-5, 1, size=n)
    together = [
        *no_free_lunch(problem, LossConstraint(lam=lam)),
        *capability_floor_given_safety(problem, s),
    ]
    for i in range(n):
        one = instance(problem, i)
        alone = [
            *no_free_lunch(one, LossConstraint(lam=lam[i])),
            *capability_floor_given_safety(one, s[i]),
        ]
        for a, b in zip(alone, together, strict=True):
            batched = np.broadcast_to(b.value, (n,))[i]
            # One small quadratic is solved exactly, a batch in double precision, rounded down.
            close = 1e-9 if kind == "tabular" else 1e-6
            assert a.value == pytest.approx(batched, rel=close, abs=1e-15)
            assert str(a.status) == str(np.broadcast_to(b.status, (n,))[i])


def test_status_follows_the_constants() -> None:
    known = {
        "disagreement_weighted_overlap": Constant(0.3, "high_probability", 0.01),
        "capability_gap_at_aligned": 2.0,
        "smoothness_task": 8.0,
        "quadratic_growth_safety": Constant(0.5, "estimated"),
    }
    weighted, overlap, parametric = no_free_lunch(Constants(known), ParameterConstraint(1.0))
    assert weighted.status is Status.NOT_APPLICABLE
    assert overlap.value == pytest.approx(np.sqrt(2) * 0.3)
    assert (overlap.status, overlap.failure_probability) == (Status.HIGH_PROBABILITY, 0.01)
    assert parametric.value == pytest.approx(np.sqrt(2.0) / 4.0)
    assert parametric.status is Status.ESTIMATED
    floors = {b.form: b for b in capability_floor_given_safety(Constants(known), 0.02)}
    assert floors["overlap"].value == pytest.approx((np.sqrt(2) * 0.3 - np.sqrt(0.02)) ** 2)
    assert floors["parametric"].value == pytest.approx((np.sqrt(2) - 4 * np.sqrt(0.02)) ** 2)
    far = {b.form: b for b in capability_floor_given_safety(Constants(known), 5.0)}
    assert {b.status for b in far.values()} == {Status.VACUOUS}
    # A flatter task than safety: the rate is capped at 1 in the plain sum.
    gentle = Constants(known | {"smoothness_task": 0.1, "quadratic_growth_safety": 0.5})
    assert no_free_lunch(gentle, LossConstraint(lam=1.0))[2].value == pytest.approx(np.sqrt(2.0))


@pytest.mark.parametrize(
    ("statement", "problem", "words"),
    [
        (no_free_lunch, Constants({}), "disagreement_weighted_overlap"),
        (no_free_lunch, Constants({}), "quadratic_growth_safety"),
        (no_free_lunch, opposed_coins(0.1), "A-QG"),
        (
            no_free_lunch,
            QuadraticProblem(H_s=[[0.0]], H_f=[[1.0]], theta_s=[0.0], theta_f=[1.0]),
            "singular",
        ),
        (minimax, Constants({"tv": 0.1}), "vocabulary"),
        (minimax, Constants({"vocabulary": 5.0}), "tv"),
    ],
)
def test_what_does_not_apply_names_what_is_missing(statement, problem, words) -> None:
    missing = [
        b for b in statement(problem, LossConstraint(lam=1.0)) if b.status == Status.NOT_APPLICABLE
    ]
    assert any(words in b.failed for b in missing)
    assert all(b.value == 0.0 for b in missing)
