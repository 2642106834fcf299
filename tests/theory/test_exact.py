"""The closed forms against an independent optimiser, 50-digit arithmetic, and their own theory."""

import mpmath
import numpy as np
import pytest
from scipy.optimize import minimize

from theory.exact import exact, frontier
from theory.limits import front_floor
from theory.problem import Distribution, QuadraticProblem, TabularProblem
from theory.strategy import Hybrid, LossConstraint, ParameterConstraint


def mild(rng, n: int, contexts: int = 4, responses: int = 3) -> TabularProblem:
    """Full supports and no extreme masses: instances on which a generic optimiser converges."""

    def distribution() -> Distribution:
        return Distribution(
            rng.dirichlet(np.full(contexts, 4.0), n),
            rng.dirichlet(np.full(responses, 2.0), (n, contexts)),
        )

    return TabularProblem(distribution(), distribution(), distribution())


def fifty_digits(problem: TabularProblem, lam: float) -> tuple[float, float, float]:
    """``(G_s, G_hat_s, G_f)`` of one instance from the definitions of T3, in mpmath."""
    with mpmath.workdps(50):

        def table(values):
            rows = [[mpmath.mpf(float(v)) for v in row] for row in values]
            return [[v / sum(row) for v in row] for row in rows]

        def masses(values):
            row = [mpmath.mpf(float(v)) for v in values]
            return [v / sum(row) for v in row]

        def kl(p, q):
            total = mpmath.mpf(0)
            for a, b in zip(p, q, strict=True):
                if a > 0:
                    if b == 0:
                        return mpmath.inf
                    total += a * mpmath.log(a / b)
            return total

        parts = (problem.safety, problem.proxy, problem.task)
        contexts = [masses(d.context) for d in parts]
        targets = [table(d.target) for d in parts]
        aligned = table(problem.aligned)
        gaps = [mpmath.mpf(0)] * 3
        for x in range(len(contexts[0])):
            proxy, task = contexts[1][x] * mpmath.mpf(lam), contexts[2][x]
            if proxy + task > 0:
                policy = [
                    (task * f + proxy * s) / (proxy + task)
                    for f, s in zip(targets[2][x], targets[1][x], strict=True)
                ]
            else:
                policy = aligned[x]
            for k in range(3):
                if contexts[k][x] > 0:
                    gaps[k] += contexts[k][x] * kl(targets[k][x], policy)
        return tuple(float(g) for g in gaps)


def test_gaps_agree_with_fifty_digits(rng, random_tabular, instance):
    problem = random_tabular(rng, 200, aligned="random")
    lams = 10.0 ** rng.uniform(-6, 6, size=200)
    solution = exact(problem, LossConstraint(lam=lams))
    for i in range(200):
        reference = fifty_digits(instance(problem, i), lams[i])
        found = solution.safety_gap[i], solution.proxy_safety_gap[i], solution.capability_gap[i]
        for value, truth in zip(found, reference, strict=True):
            assert value == pytest.approx(truth, rel=1e-10, abs=1e-15)


def test_no_policy_beats_the_mixture(rng, instance):
    """scipy minimises the penalised loss over all logits and lands on the closed form."""
    problem = mild(rng, 200, contexts=3)
    for i in range(200):
        one = instance(problem, i)
        lam = float(10.0 ** rng.uniform(-1, 1))
        solution = exact(one, LossConstraint(lam=lam))
        weight = one.task.context[:, None] * one.task.target
        weight = weight + lam * one.proxy.context[:, None] * one.proxy.target
        total = weight.sum(axis=-1, keepdims=True)

        def loss(flat, weight=weight, total=total):
            logits = flat.reshape(3, 3)
            log_p = logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)
            return -(weight * log_p).sum(), (total * np.exp(log_p) - weight).ravel()

        found = minimize(loss, np.zeros(9), jac=True, method="BFGS", options={"gtol": 1e-10})
        logits = found.x.reshape(3, 3)
        policy = np.exp(logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True))
        np.testing.assert_allclose(policy, solution.policy, atol=1e-6)
        assert loss(np.log(solution.policy).ravel())[0] <= found.fun + 1e-12
        assert loss(np.log(solution.policy).ravel())[0] == pytest.approx(found.fun, abs=1e-7)


def test_epsilon_finds_the_multiplier_and_stays_feasible(rng, random_tabular):
    problem = random_tabular(rng, 500)
    lam = 10.0 ** rng.uniform(-2, 2, size=500)
    forward = exact(problem, LossConstraint(lam=lam))
    usable = forward.proxy_safety_gap > 1e-9
    back = exact(problem, LossConstraint(epsilon=forward.proxy_safety_gap))
    assert np.all(back.proxy_safety_gap <= forward.proxy_safety_gap * (1 + 1e-12))
    np.testing.assert_allclose(back.lam[usable], lam[usable], rtol=1e-6)
    slack = exact(problem, LossConstraint(epsilon=1e9))
    reachable = np.isfinite(np.where(problem.overlap, problem.kl_proxy_task, 0.0)).all(axis=-1)
    assert np.all(slack.lam[reachable] == 0)
    none_left = exact(problem, LossConstraint(epsilon=0.0))
    assert np.all(none_left.proxy_safety_gap == 0.0)


def test_monotone_in_lambda_for_the_proxy_gap_and_the_capability_gap(rng, random_tabular):
    problem = random_tabular(rng, 300)
    lams = np.geomspace(1e-4, 1e4, 30)
    points = [exact(problem, LossConstraint(lam=lam)) for lam in lams]
    proxy = np.stack([p.proxy_safety_gap for p in points])
    capability = np.stack([p.capability_gap for p in points])
    assert np.all(np.diff(proxy, axis=0) <= 1e-12 * proxy[:-1])
    assert np.all(np.diff(capability, axis=0) >= -1e-12 * capability[1:])


def quadratic_by_brute_force(problem, lam, radius):
    """scipy on the same objective, from several starts."""
    theta_s, d = problem.theta_s, problem.displacement

    def objective(step):
        task, safety = step - d, step
        value = 0.5 * task @ problem.H_f @ task + 0.5 * lam * safety @ problem.H_s @ safety
        return value, problem.H_f @ task + lam * problem.H_s @ safety

    constraints = []
    if np.isfinite(radius):
        constraints = [
            {"type": "ineq", "fun": lambda s: radius**2 - s @ s, "jac": lambda s: -2 * s}
        ]
    method = "SLSQP" if constraints else "BFGS"
    options = {"ftol": 1e-16, "maxiter": 2000} if constraints else {"gtol": 1e-12}
    found = minimize(
        objective, np.zeros_like(theta_s), jac=True, method=method, options=options,
        constraints=constraints,
    )  # fmt: skip
    return found.fun


@pytest.mark.parametrize("kind", ["loss", "parameter", "hybrid"])
def test_quadratic_minimiser_against_scipy(rng, kind):
    for _ in range(40):
        a, b = rng.normal(size=(2, 3, 3))
        problem = QuadraticProblem(a @ a.T, b @ b.T, rng.normal(size=3), rng.normal(size=3))
        lam = float(10 ** rng.uniform(-1, 1)) if kind != "parameter" else 0.0
        radius = float(10 ** rng.uniform(-1, 0.5)) if kind != "loss" else np.inf
        strategy = {
            "loss": lambda lam=lam: LossConstraint(lam=lam),
            "parameter": lambda radius=radius: ParameterConstraint(radius),
            "hybrid": lambda lam=lam, radius=radius: Hybrid(lam=lam, radius=radius),
        }[kind]()
        solution = exact(problem, strategy)
        ours = solution.capability_gap + lam * solution.safety_gap
        reference = quadratic_by_brute_force(problem, lam, radius)
        assert ours == pytest.approx(reference, rel=1e-7, abs=1e-7)
        assert np.linalg.norm(solution.policy - problem.theta_s) <= radius * (1 + 1e-12)


def test_quadratic_gaps_agree_with_fifty_digits_over_eighteen_decades(rng, random_quadratic):
    """Curvatures over six decades, lambda over twelve: no direction is lost in rounding."""
    problem = random_quadratic(rng, 100, full_rank=True)
    lam = 10.0 ** rng.uniform(-6, 6, size=100)
    solution = exact(problem, LossConstraint(lam=lam))
    with mpmath.workdps(50):
        for i in range(100):
            task, safety = (mpmath.matrix(h[i].tolist()) for h in (problem.H_f, problem.H_s))
            d = mpmath.matrix(problem.theta_f[i].tolist()) - mpmath.matrix(
                problem.theta_s[i].tolist()
            )
            step = mpmath.lu_solve(task + mpmath.mpf(float(lam[i])) * safety, task * d)
            left = d - step
            total = (left.T * task * left)[0] / 2 + lam[i] * (step.T * safety * step)[0] / 2
            found = solution.capability_gap[i] + lam[i] * solution.safety_gap[i]
            assert found == pytest.approx(float(total), rel=1e-9)


def test_quadratic_trade_off_is_the_parallel_sum(rng, random_quadratic):
    problem = random_quadratic(rng, 200, full_rank=True)
    lam = 10.0 ** rng.uniform(-3, 3, size=200)
    solution = exact(problem, LossConstraint(lam=lam))
    scaled = lam[:, None, None] * problem.H_s
    parallel = np.linalg.inv(np.linalg.inv(problem.H_f) + np.linalg.inv(scaled))
    d = problem.displacement
    expected = 0.5 * np.einsum("ni,nij,nj->n", d, parallel, d)
    np.testing.assert_allclose(
        solution.capability_gap + lam * solution.safety_gap, expected, rtol=1e-6
    )


def test_front_is_convex_with_slope_minus_lambda(rng, instance):
    problem = instance(mild(rng, 1), 0)
    lams = np.geomspace(0.01, 100, 400)
    front = frontier(problem, lams)
    middle = np.sqrt(lams[1:] * lams[:-1])
    slope = np.diff(front.capability_gap) / np.diff(front.safety_gap)
    np.testing.assert_allclose(slope, -middle, rtol=1e-3)
    assert front_floor(problem, front.safety_gap[100]) == pytest.approx(
        front.capability_gap[100], rel=1e-9
    )


def test_contexts_without_mass_and_disjoint_supports_are_right_not_nan():
    safety = Distribution([0.0, 1.0, 0.0], [[1, 0], [1, 0], [1, 0]])
    task = Distribution([0.0, 1.0, 0.0], [[0, 1], [0, 1], [0, 1]])
    solution = exact(TabularProblem(safety, task), LossConstraint(lam=2.0))
    assert solution.safety_gap == pytest.approx(np.log(1 + 1 / 2))
    assert solution.capability_gap == pytest.approx(np.log(1 + 2.0))
    apart = TabularProblem(safety, Distribution([1.0, 0.0, 0.0], [[0, 1], [0, 1], [0, 1]]))
    solution = exact(apart, LossConstraint(lam=2.0))
    assert solution.safety_gap == 0.0
    assert solution.capability_gap == 0.0


@pytest.mark.parametrize("lam", [1e-12, 1e-6, 1.0, 1e6])
def test_a_task_near_the_safety_data_keeps_its_digits_under_a_distant_proxy(lam):
    """Fifty-digit reference: at small lambda the policy is almost mu_f, which is almost mu_s."""
    safety, task, proxy = [0.5, 0.5], [0.5 + 2**-30, 0.5 - 2**-30], [0.875, 0.125]
    problem = TabularProblem(
        *(Distribution([1.0], [target]) for target in (safety, task, proxy)),
    )
    with mpmath.workdps(50):
        w = mpmath.mpf(lam) / (1 + mpmath.mpf(lam))
        policy = [
            (1 - w) * mpmath.mpf(a) + w * mpmath.mpf(b) for a, b in zip(task, proxy, strict=True)
        ]
        gap = float(
            sum(mpmath.mpf(p) * mpmath.log(p / q) for p, q in zip(safety, policy, strict=True))
        )
    found = exact(problem, LossConstraint(lam=lam)).safety_gap
    assert found == pytest.approx(gap, rel=1e-12, abs=0)


@pytest.mark.parametrize("epsilon", [4.0, 6.5, 1e-280])
def test_epsilon_is_used_up_wherever_float64_has_a_multiplier(epsilon):
    """Disjoint targets on mass b: ``b log(1 + 1 / (lam b)) = epsilon`` has lam = e^-epsilon/b."""
    mass = 0.01
    problem = TabularProblem(
        Distribution([mass, 1 - mass], [[1.0, 0.0], [0.5, 0.5]]),
        Distribution([1.0, 0.0], [[0.0, 1.0], [0.5, 0.5]]),
    )
    found = exact(problem, LossConstraint(epsilon=epsilon))
    assert found.proxy_safety_gap == pytest.approx(epsilon, rel=1e-9, abs=0)
    assert found.lam == pytest.approx(1 / (mass * np.expm1(epsilon / mass)), rel=1e-9)
