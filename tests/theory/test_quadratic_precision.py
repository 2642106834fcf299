"""Ill-conditioned and singular quadratic problems: no bound violated, every printed digit right."""

import mpmath
import numpy as np
import pytest

from benchmarks.quadratic_precision import check
from theory.bound import Quantity
from theory.evaluation import best, evaluate
from theory.exact import exact
from theory.problem import QuadraticProblem
from theory.quadratic import floating, start
from theory.quadratic.rational import LARGEST, NotPSDError, Rational
from theory.strategy import Hybrid, LossConstraint, ParameterConstraint


def test_sixty_problems_against_a_hundred_digits():
    """All strategies, condition numbers up to 1e12, singular matrices, scales 1e-6 to 1e6."""
    found = check(60, seed=7)
    assert found.faults == []
    assert found.bounds > 500
    assert found.values > 90


def graded(share: float) -> QuadraticProblem:
    """A task of rank one against a safety loss that is eleven decades softer in one direction."""
    row = np.array([8.0, 5.0, 5.0])
    return QuadraticProblem(
        H_s=np.diag([4.2e-6, 2.3e5, 2.1e5]),
        H_f=np.outer(row, row),
        theta_s=[-16.25, -19.0, 13.125],
        theta_f=np.array([-16.25, -19.0, 13.125]) + share * np.array([22.0, 15.5, -27.5]),
    )


@pytest.mark.parametrize("lam", [1e-8, 6.4e-6, 1.0, 1e8])
def test_a_comparator_is_never_below_the_minimiser(lam):
    """T2's best task optimum and the exact gap agree to a dozen digits; T2 stays above."""
    problem, strategy = graded(1.0), LossConstraint(lam=lam)
    solution = exact(problem, strategy)
    for quantity, gap in (
        (Quantity.PROXY_SAFETY_GAP, solution.gaps.safety),
        (Quantity.CAPABILITY_GAP, solution.gaps.capability),
    ):
        uppers = [
            b.value
            for b in evaluate(problem, strategy)
            if b.quantity == quantity and b.direction == "upper" and b.applies
        ]
        assert min(uppers) >= gap.lower
        assert gap.error <= 1e-15 * gap.value


def test_a_tiny_gap_between_singular_curvatures_has_its_digits():
    """Whole numbers of rank two and four in five coordinates: a ratio of whole numbers."""
    safety = np.array([[7, 8], [7, 3], [5, -7], [-4, 6], [6, 8]], dtype=float)
    task = np.array(
        [[-12, 6, 1, 1], [-3, 6, 2, 0], [17, -6, 3, 5], [13, -12, 2, 4], [9, -8, 4, 3]], dtype=float
    )
    problem = QuadraticProblem(
        safety @ safety.T, task @ task.T, np.zeros(5), [0.5, -0.25, 1.125, 2.0, -3.0]
    )
    lam = 2.0**20
    with mpmath.workdps(60):
        h_s, h_f = (mpmath.matrix(m.tolist()) for m in (problem.H_s, problem.H_f))
        d = mpmath.matrix(problem.theta_f.tolist())
        step = mpmath.lu_solve(h_f + lam * h_s, h_f * d)
        truth = (step.T * h_s * step)[0] / 2
        found = exact(problem, LossConstraint(lam=lam)).safety_gap
        assert abs(mpmath.mpf(float(found)) - truth) <= abs(truth) * mpmath.mpf(2) ** -52


def test_a_free_radius_says_that_the_safety_gap_is_not_determined():
    """f_f leaves the second coordinate free: the safety gap is anything up to what r allows."""
    problem = QuadraticProblem(np.diag([1.0, 4.0]), np.diag([1.0, 0.0]), [0.0, 0.0], [1.0, 1.0])
    gaps = exact(problem, ParameterConstraint(2.0)).gaps
    assert gaps.which
    assert gaps.safety.value == 0.5
    assert gaps.safety_range.lower == pytest.approx(0.5, rel=1e-6)
    assert gaps.safety_range.upper == pytest.approx(0.5 + 0.5 * 4.0 * 3.0, rel=1e-6)
    bound = exact(problem, ParameterConstraint(0.5)).gaps
    assert not bound.which


def test_a_slack_epsilon_says_so_too():
    problem = QuadraticProblem(np.diag([1.0, 4.0]), np.diag([1.0, 0.0]), [0.0, 0.0], [1.0, 1.0])
    gaps = exact(problem, LossConstraint(epsilon=3.0)).gaps
    assert gaps.which
    assert (gaps.safety_range.lower, gaps.safety_range.upper) == (0.5, 3.0)


def test_range_holds_every_minimiser(rng):
    """Random minimisers within the ball: their safety gaps lie in the range."""
    for _ in range(20):
        factor = rng.integers(-5, 6, size=(4, 2)).astype(float)
        other = rng.normal(size=(4, 4))
        problem = QuadraticProblem(
            other @ other.T, factor @ factor.T, np.zeros(4), rng.normal(size=4)
        )
        radius = 1.5 * np.linalg.norm(problem.displacement)
        gaps = exact(problem, ParameterConstraint(radius)).gaps
        null = np.linalg.svd(factor.T)[2][np.linalg.matrix_rank(factor) :].T
        room = np.sqrt(radius**2 - gaps.step @ gaps.step)
        ways = rng.normal(size=(200, null.shape[1]))
        ways *= room / np.linalg.norm(ways, axis=1, keepdims=True)
        points = gaps.step + ways @ null.T
        reached = 0.5 * np.einsum("ni,ij,nj->n", points, problem.H_s, points)
        assert reached.max() <= gaps.safety_range.upper * (1 + 1e-9)
        assert reached.min() >= gaps.safety_range.lower * (1 - 1e-9)
        assert reached.max() >= 0.8 * gaps.safety_range.upper


@pytest.mark.parametrize("size", [3, LARGEST])
def test_double_precision_encloses_exact_arithmetic(rng, size):
    """The two ways to the same gaps: what doubles give holds the exact number."""
    for _ in range(10):
        a, b = rng.normal(size=(2, size, size)) * 10.0 ** rng.uniform(-3, 0, size=(2, size, 1))
        problem = QuadraticProblem(
            0.5 * (a @ a.T + (a @ a.T).T),
            0.5 * (b @ b.T + (b @ b.T).T),
            *rng.normal(size=(2, size)),
        )
        lam, radius = float(10 ** rng.uniform(-3, 3)), float(10 ** rng.uniform(-2, 0))
        reached = float(exact(problem, LossConstraint(lam=lam)).safety_gap)
        for strategy, other in (
            (LossConstraint(lam=lam), floating.penalised(problem, lam)),
            (LossConstraint(epsilon=reached), floating.constrained(problem, reached)),
            (ParameterConstraint(radius), floating.within_ball(problem, 0.0, radius)),
            (Hybrid(lam=lam, radius=radius), floating.within_ball(problem, lam, radius)),
        ):
            gaps = exact(problem, strategy).gaps
            for sharp, wide in ((gaps.safety, other.safety), (gaps.capability, other.capability)):
                assert wide.lower <= sharp.upper
                assert wide.upper >= sharp.lower
                assert wide.error <= 1e-3 * wide.value


def test_a_batch_that_rounding_made_singular_is_not_called_exact():
    """Curvature below resolution along d: no digit holds, and nothing EXACT is said."""
    tiny = np.array([[1.0, 1.0], [1.0, 1.0 + 2.0**-52]])
    problem = QuadraticProblem(
        tiny[None], np.diag([1.0, 1e-17])[None], np.zeros((1, 2)), np.array([[1.0, -1.0]])
    )
    bounds = evaluate(problem, LossConstraint(epsilon=np.zeros(1)), statements=["T3"])
    capability = next(b for b in bounds if b.quantity is Quantity.CAPABILITY_GAP)
    assert capability.status[0] == "NOT_APPLICABLE"
    assert "not resolved in double precision" in capability.failed


def test_only_what_is_exactly_semi_definite_is_solved_exactly():
    with pytest.raises(NotPSDError):
        Rational(
            QuadraticProblem(np.diag([1.0, -1e-17]), np.eye(2), np.zeros(2), np.ones(2)),
        )


def test_the_gap_of_theta_s_is_enclosed_where_it_cancels():
    """d lies almost in the kernel: a product in doubles has no right digit."""
    problem = QuadraticProblem(
        np.eye(2), [[1e12, -1e12], [-1e12, 1e12]], [0.0, 0.0], [1.0, 1.0 + 2.0**-50]
    )
    truth = 0.5e12 * 2.0**-100
    gap = start(problem).gap
    assert gap.lower <= truth <= gap.upper
    assert gap.value == pytest.approx(truth, rel=1e-15)


def test_best_takes_the_far_side_of_an_exact_value():
    problem, strategy = graded(1.0), LossConstraint(lam=1.0)
    gap = exact(problem, strategy).gaps.safety
    bounds = evaluate(problem, strategy)
    assert best(bounds, "safety_gap", "upper").value >= gap.upper
    assert best(bounds, "safety_gap", "lower").value <= gap.lower


@pytest.mark.parametrize("batched", [False, True])
def test_hundreds_of_coordinates_take_order_n_cubed(rng, batched):
    """Two sizes a factor 4 apart: below what order n^4 would take, and no n^4 array product."""
    import time

    def seconds(n: int) -> float:
        a, b = rng.normal(size=(2, n, n))
        parts = [a @ a.T, b @ b.T, *rng.normal(size=(2, n))]
        problem = QuadraticProblem(*(p[None] if batched else p for p in parts))
        begin = time.process_time()
        with np.errstate(all="ignore"):
            evaluate(problem, Hybrid(lam=1.0, radius=1.0))
        return time.process_time() - begin

    seconds(50)
    assert seconds(240) <= 0.5 + 4.0**3.7 * seconds(60)
