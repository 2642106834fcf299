"""T12 on problems with known losses, T13 against real optimisers driven by adversaries."""

from __future__ import annotations

import numpy as np
import pytest

from theory.bound import Quantity, Status
from theory.exact import exact
from theory.local import (
    AdamBudget,
    SgdBudget,
    adam_step_factor,
    local_mismatch,
    lora_product_radius,
    radius_from_budget,
)
from theory.problem import Constant, Constants, Distribution, QuadraticProblem, TabularProblem
from theory.strategy import Hybrid, LossConstraint, ParameterConstraint


def spd(rng, n):
    a = rng.normal(size=(n, n))
    return a @ a.T + 0.1 * np.eye(n)


class Quadratics:
    """f_s, f_hat_s, f_f = quadratics with their own curvature, centre and offset."""

    def __init__(self, rng, n=4):
        self.h = [spd(rng, n) for _ in range(3)]
        self.centre = [rng.normal(size=n) for _ in range(3)]
        self.start = rng.normal(size=n)

    def loss(self, i, theta):
        d = theta - self.centre[i]
        return 0.5 * d @ self.h[i] @ d

    def minimiser(self, lam):
        _, proxy, task = self.h
        pull = lam * proxy @ self.centre[1] + task @ self.centre[2]
        return np.linalg.solve(task + lam * proxy, pull)

    def constants(self, theta, slack=0.0, **changed):
        gradient = self.h[0] @ (self.start - self.centre[0]) - self.h[1] @ (
            self.start - self.centre[1]
        )
        smoothness = np.abs(np.linalg.eigvalsh(self.h[0] - self.h[1])).max()
        values = {
            "gradient_mismatch": np.linalg.norm(gradient),
            "smoothness_mismatch": smoothness,
            "displacement": np.linalg.norm(theta - self.start),
            "task_loss_at_aligned": self.loss(2, self.start),
            "optimality_slack": slack,
        }
        return Constants({**values, **changed})


@pytest.mark.parametrize("seed", range(30))
def test_t12_holds_at_the_minimiser_and_at_any_point_with_its_measured_slack(seed):
    rng = np.random.default_rng(seed)
    q = Quadratics(rng)
    lam = float(np.exp(rng.normal()))
    best = q.minimiser(lam)
    for theta in (best, best + rng.normal(size=4), q.start + 0.1 * rng.normal(size=4)):
        objective = [q.loss(2, t) + lam * q.loss(1, t) for t in (theta, q.start)]
        slack = max(objective[0] - objective[1], 0.0)
        (found,) = local_mismatch(q.constants(theta, slack), LossConstraint(lam=lam))
        rise = q.loss(0, theta) - q.loss(0, q.start)
        assert rise <= found.value + 1e-12
        assert found.status is Status.CERTIFIED
        assert found.quantity is Quantity.SAFETY_LOSS_INCREASE
        assert sum(found.terms.values()) == pytest.approx(found.value, rel=1e-14)
        # After the run its own task loss is the sharpest floor.
        after = q.constants(theta, slack, task_loss_floor=q.loss(2, theta))
        (sharper,) = local_mismatch(after, LossConstraint(lam=lam))
        assert rise <= sharper.value + 1e-12
        assert sharper.value <= found.value + 1e-12


@pytest.mark.parametrize(
    ("name", "factor"),
    [
        ("gradient_mismatch", 0.99),
        ("smoothness_mismatch", 0.99),
        ("displacement", 0.99),
        ("optimality_slack", 0.9),
        ("task_loss_at_aligned", 0.9),
    ],
)
def test_t12_is_attained_so_that_any_smaller_constant_breaks_it(name, factor):
    # One coordinate: Delta = g t + b t^2 / 2, f_f ends at its floor 0, F rises by the slack.
    gradient, smoothness, r, lam, task_start, slack = 0.7, 0.4, 1.3, 2.0, 0.9, 0.3
    proxy_rise = (task_start - 0.0 + slack) / lam
    truth = proxy_rise + gradient * r + 0.5 * smoothness * r**2
    values = {
        "gradient_mismatch": gradient,
        "smoothness_mismatch": smoothness,
        "displacement": r,
        "task_loss_at_aligned": task_start,
        "optimality_slack": slack,
    }
    (found,) = local_mismatch(Constants(values), LossConstraint(lam=lam))
    assert found.value == pytest.approx(truth, rel=1e-14)
    values[name] *= factor
    (mutant,) = local_mismatch(Constants(values), LossConstraint(lam=lam))
    assert mutant.value < truth * (1 - 1e-3)


def test_t12_forms_radius_and_status_follow_the_constants():
    values = {
        "gradient_mismatch": Constant(0.5, "estimated"),
        "smoothness_mismatch": 0.2,
        "displacement": 3.0,
        "task_loss_at_aligned": 2.0,
        "task_loss_floor": 1.5,
        "capability_gap_at_aligned": 0.4,
    }
    problem = Constants(values)
    by_form = {b.form: b for b in local_mismatch(problem, LossConstraint(lam=0.5))}
    assert by_form["task loss"].terms["value gap / lambda"] == pytest.approx(1.0)
    assert by_form["capability gap"].terms["value gap / lambda"] == pytest.approx(0.8)
    assert {b.status for b in by_form.values()} == {Status.ESTIMATED}
    slow = Constants({**values, "optimality_slack": 0.1})
    for found in local_mismatch(slow, LossConstraint(lam=0.5)):
        before = by_form[found.form].terms["value gap / lambda"]
        assert found.terms["value gap / lambda"] == pytest.approx(before + 0.2)
    hybrid = local_mismatch(problem, Hybrid(lam=0.5, radius=1.0))[0]
    assert hybrid.terms["gradient mismatch"] == pytest.approx(0.5)
    assert hybrid.terms["curvature"] == pytest.approx(0.1)
    # A displacement below the radius is the sharper of the two.
    assert local_mismatch(problem, Hybrid(lam=0.5, radius=9.0))[0].terms[
        "gradient mismatch"
    ] == pytest.approx(1.5)
    (constrained,) = local_mismatch(problem, LossConstraint(epsilon=0.25))
    assert constrained.terms["proxy constraint"] == 0.25
    many = local_mismatch(problem, LossConstraint(lam=np.array([0.5, 1.0, 2.0])))[0]
    assert many.value.shape == (3,)
    assert (np.diff(many.value) < 0).all()


def test_t12_says_what_is_missing():
    full = {
        "gradient_mismatch": 1.0,
        "smoothness_mismatch": 1.0,
        "displacement": 1.0,
        "task_loss_at_aligned": 1.0,
    }
    for name in full:
        partial = Constants({k: v for k, v in full.items() if k != name})
        (found,) = local_mismatch(partial, LossConstraint(lam=1.0))
        assert found.status is Status.NOT_APPLICABLE
        assert name in found.failed
    (found,) = local_mismatch(Constants(full), ParameterConstraint(radius=1.0))
    assert found.status is Status.NOT_APPLICABLE
    assert "proxy" in found.failed


def table(rng, x=5, v=4, batch=(), sparse=False):
    context = rng.dirichlet(np.ones(x), size=batch)
    target = rng.dirichlet(np.full(v, 0.7), size=(*batch, x))
    if sparse:
        context = np.where(rng.random(context.shape) < 0.3, 0.0, context) + 1e-300
        context[context < 1e-200] = 0.0
        context[..., 0] += 0.1
        context /= context.sum(axis=-1, keepdims=True)
    return Distribution(context, target)


def logit_losses(problem, policy):
    with np.errstate(divide="ignore"):
        log = np.log(policy)
    return [
        -(d.context[..., None] * d.target * log).sum(axis=(-2, -1))
        for d in (problem.safety, problem.proxy, problem.task)
    ]


@pytest.mark.parametrize("sparse", [False, True])
def test_t12_on_tables_at_the_exact_minimiser(sparse):
    rng = np.random.default_rng(7)
    safety, proxy, task = (table(rng, batch=(400,), sparse=sparse) for _ in range(3))
    aligned = rng.dirichlet(np.ones(4), size=(400, 5))
    for start in (None, aligned):
        problem = TabularProblem(safety, task, proxy, start)
        strategy = LossConstraint(lam=np.exp(rng.normal(size=400)))
        (found,) = local_mismatch(problem, strategy)
        policy = exact(problem, strategy).policy
        before, after = logit_losses(problem, problem.aligned), logit_losses(problem, policy)
        rise = after[0] - before[0]
        assert (found.status == Status.CERTIFIED).all()
        assert (rise <= found.value + 1e-10).all()
        # Without the mismatch terms it is wrong: the proxy is not the safety data.
        assert (rise > found.terms["value gap / lambda"] + 1e-6).any()


@pytest.mark.parametrize("aligned", ["safety", "near", "random"])
@pytest.mark.parametrize("same_teacher", [False, True])
def test_t12_on_tables_with_zero_masses_and_tiny_gaps(
    rng, random_tabular, policy_gaps, assert_valid, aligned, same_teacher
):
    problem = random_tabular(rng, 3000, aligned=aligned, same_teacher=same_teacher)
    applied = 0
    for strategy in (
        LossConstraint(lam=10.0 ** rng.uniform(-6, 6, size=3000)),
        LossConstraint(epsilon=10.0 ** rng.uniform(-9, 0, size=3000)),
    ):
        policy = exact(problem, strategy).policy
        before, after = (policy_gaps(problem, p)[0] for p in (problem.aligned, policy))
        with np.errstate(invalid="ignore"):
            rise = np.where(np.isinf(before), 0.0, after - before)
        (found,) = local_mismatch(problem, strategy)
        applied += assert_valid(found, rise, atol=1e-13)
        assert np.isfinite(found.value).any()
    assert applied > 500


def test_t12_on_tables_at_the_minimiser_within_a_radius(
    rng, random_tabular, policy_gaps, instance, minimise_in_ball, assert_valid
):
    problems = random_tabular(rng, 25, aligned="near", positive=True)
    for i in range(25):
        problem, lam, radius = instance(problems, i), 10.0 ** rng.uniform(-1, 1), 0.5
        policy = minimise_in_ball(problem, radius, lam)
        before, after = (policy_gaps(problem, p)[0] for p in (problem.aligned, policy))
        (found,) = local_mismatch(problem, Hybrid(lam=lam, radius=radius))
        assert_valid(found, after - before, atol=1e-9)


def test_t12_on_tables_within_a_radius_at_any_point_that_ends_no_worse():
    rng = np.random.default_rng(8)
    safety, proxy, task = (table(rng) for _ in range(3))
    problem = TabularProblem(safety, task, proxy)
    lam, radius, checked = 0.7, 0.8, 0
    (found,) = local_mismatch(problem, Hybrid(lam=lam, radius=radius))
    before = logit_losses(problem, problem.aligned)
    tightest = 0.0
    for _ in range(4000):
        step = rng.normal(size=problem.aligned.shape)
        step *= radius * rng.random() ** 0.2 / np.linalg.norm(step)
        policy = problem.aligned * np.exp(step)
        policy /= policy.sum(axis=-1, keepdims=True)
        after = logit_losses(problem, policy)
        if after[2] + lam * after[1] <= before[2] + lam * before[1]:
            checked += 1
            rise = after[0] - before[0]
            assert rise <= found.value
            tightest = max(tightest, rise / found.value)
    assert checked > 100
    assert tightest > 0.02


def test_t12_with_a_loss_constraint_counts_from_the_proxy_loss_of_the_aligned_model():
    rng = np.random.default_rng(9)
    safety, proxy, task = (table(rng) for _ in range(3))
    problem = TabularProblem(safety, task, proxy)
    (found,) = local_mismatch(problem, LossConstraint(epsilon=0.3))
    expected = 0.3 - float(problem.proxy_gap_at_aligned)
    assert expected < 0.3
    assert found.terms["proxy constraint"] == pytest.approx(expected, rel=1e-12)


def test_t12_on_tables_with_dead_responses_and_infinite_losses():
    context = np.array([0.5, 0.5])
    safety = Distribution(context, [[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]])
    task = Distribution(context, [[0.2, 0.8, 0.0], [0.5, 0.5, 0.0]])
    # Same proxy: nothing but the value gap, although the logits move infinitely far.
    (found,) = local_mismatch(TabularProblem(safety, task), LossConstraint(lam=2.0))
    assert found.value == np.inf  # the aligned model gives the task no chance in context 2
    alive = TabularProblem(safety, task, aligned=[[0.5, 0.5, 0.0], [0.9, 0.1, 0.0]])
    (found,) = local_mismatch(alive, LossConstraint(lam=2.0))
    assert np.isfinite(found.value)
    assert found.terms["gradient mismatch"] == 0.0
    # The proxy wants a response that the aligned model never gives: its loss starts infinite.
    proxy = Distribution(context, [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
    (found,) = local_mismatch(TabularProblem(safety, task, proxy), LossConstraint(lam=2.0))
    assert found.status is Status.NOT_APPLICABLE
    assert "infinite" in found.failed


def test_t12_on_quadratics_is_the_value_gap_of_a_perfect_proxy():
    rng = np.random.default_rng(3)
    problem = QuadraticProblem(spd(rng, 3), spd(rng, 3), rng.normal(size=3), rng.normal(size=3))
    for strategy in (LossConstraint(lam=0.8), Hybrid(lam=0.8, radius=0.3)):
        (found,) = local_mismatch(problem, strategy)
        assert exact(problem, strategy).safety_gap <= found.value
        assert found.terms["gradient mismatch"] == found.terms["curvature"] == 0.0


# ---------------------------------------------------------------- T13


def run_sgd(gradients, rates, clip, momentum, nesterov=False):
    """Positions after every step ``[T, d]`` of PyTorch's SGD, from 0; gradients from a rule."""
    theta, velocity, path = np.zeros(gradients.dimension), np.zeros(gradients.dimension), []
    for t, rate in enumerate(rates, start=1):
        g = gradients(t, theta)
        g = g * min(1.0, clip / max(np.linalg.norm(g), 1e-300))
        velocity = momentum * velocity + g
        theta = theta - rate * (g + momentum * velocity if nesterov else velocity)
        path.append(theta)
    return np.array(path)


def run_adam(gradients, rates, beta1, beta2, eps, weight_decay=0.0, start=None):
    start = np.zeros(gradients.dimension) if start is None else start
    theta, m, v, path = start.copy(), 0.0, 0.0, []
    for t, rate in enumerate(rates, start=1):
        g = gradients(t, theta - start)
        theta = theta * (1 - rate * weight_decay)
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        with np.errstate(invalid="ignore", divide="ignore"):
            step = (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + eps)
        theta = theta - rate * np.where(g == 0, 0.0, step)
        path.append(theta - start)
    return np.array(path)


class Adversary:
    """Gradient rules that try to move as far as possible."""

    def __init__(self, kind, dimension, rng, growth=1.1):
        self.kind, self.dimension, self.growth = kind, dimension, growth
        self.direction = rng.normal(size=dimension)
        self.rng = rng

    def __call__(self, t, moved):
        match self.kind:
            case "constant":
                return 1e3 * self.direction
            case "sign":
                return np.where(moved == 0, np.sign(self.direction), -np.sign(moved))
            case "ascent":
                return -moved - 1e-3 * self.direction
            case "growing":
                return np.sign(self.direction) * self.growth**t
            case "random":
                return self.rng.normal(size=self.dimension) * np.exp(3 * self.rng.normal())


ADVERSARIES = ("constant", "sign", "ascent", "growing", "random")


def schedule(rng, steps):
    warm = np.minimum(np.arange(1, steps + 1) / 5, 1.0)
    return 0.01 * warm * (1 + np.cos(np.pi * np.arange(steps) / steps)) * rng.uniform(0.5, 2.0)


def radii_along(make, rates):
    """The bound after every step, from the truncated schedule."""
    return np.array([radius_from_budget(make(rates[:t])).value for t in range(1, len(rates) + 1)])


@pytest.mark.parametrize("kind", ADVERSARIES)
@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_t13_sgd_never_leaves_the_radius(kind, momentum, nesterov):
    rng = np.random.default_rng(0)
    rates = schedule(rng, 40)
    path = run_sgd(Adversary(kind, 6, rng), rates, 0.7, momentum, nesterov)
    radii = radii_along(lambda r: SgdBudget(r, 0.7, momentum, nesterov), rates)
    ratio = np.linalg.norm(path, axis=1) / radii
    assert (ratio <= 1 + 1e-14).all()
    if kind == "constant":
        np.testing.assert_allclose(ratio, 1.0, rtol=1e-13)  # attained, at every step


def test_t13_sgd_is_sharper_than_its_closed_form_and_needs_the_momentum_factor():
    rates = np.full(30, 0.1)
    radius = radius_from_budget(SgdBudget(rates, 1.0, 0.9)).value
    assert radius <= rates.sum() / (1 - 0.9)
    rng = np.random.default_rng(0)
    path = run_sgd(Adversary("constant", 3, rng), rates, 1.0, 0.9)
    assert np.linalg.norm(path[-1]) > 2 * rates.sum()  # the mutant without 1 / (1 - m)
    # Nesterov's first step is longer: the plain form would be wrong for it.
    ahead = run_sgd(Adversary("constant", 3, rng), rates[:1], 1.0, 0.9, nesterov=True)
    assert np.linalg.norm(ahead[0]) > radius_from_budget(SgdBudget(rates[:1], 1.0, 0.9)).value


@pytest.mark.parametrize("kind", ADVERSARIES)
@pytest.mark.parametrize(
    ("beta1", "beta2"), [(0.9, 0.999), (0.9, 0.95), (0.0, 0.99), (0.5, 0.2), (0.8, 0.64)]
)
@pytest.mark.parametrize("weight_decay", [0.0, 0.3, 80.0])
def test_t13_adam_never_leaves_the_radius(kind, beta1, beta2, weight_decay):
    rng = np.random.default_rng(1)
    rates = schedule(rng, 60)
    start = 2.0 * rng.normal(size=5)
    adversary = Adversary(kind, 5, rng, growth=beta2 / beta1 if beta1 else 2.0)
    path = run_adam(adversary, rates, beta1, beta2, 1e-8, weight_decay, start)
    norm = np.linalg.norm(start)

    def budget(r):
        return AdamBudget(r, 5, beta1, beta2, weight_decay, norm)

    ratio = np.linalg.norm(path, axis=1) / radii_along(budget, rates)
    assert (ratio <= 1 + 1e-12).all()


def test_t13_adam_is_attained_at_every_step_by_geometrically_growing_gradients():
    beta1, beta2, d = 0.9, 0.999, 7
    rates = schedule(np.random.default_rng(2), 300)
    path = run_adam(
        Adversary("growing", d, np.random.default_rng(2), beta2 / beta1), rates, beta1, beta2, 0.0
    )
    radii = radii_along(lambda r: AdamBudget(r, d, beta1, beta2), rates)
    np.testing.assert_allclose(np.linalg.norm(path, axis=1) / radii, 1.0, rtol=1e-10)
    # Mutants: one learning rate a step (k = 1), and k without the dimension.
    assert np.linalg.norm(path[-1]) > 2 * np.sqrt(d) * rates.sum()
    # A usual run stays far below: constant gradients move eta a step.
    usual = run_adam(Adversary("constant", d, np.random.default_rng(2)), rates, beta1, beta2, 0.0)
    assert np.linalg.norm(usual[-1]) < 0.5 * radii[-1]


def test_t13_adamw_is_attained_when_steps_and_decay_pull_the_same_way():
    beta1, beta2, d, decay = 0.9, 0.999, 4, 2.0
    rates = np.full(200, 1e-3)
    start = np.full(d, 50.0)

    class Toward:
        dimension = d

        def __call__(self, t, moved):
            return np.ones(d) * (beta2 / beta1) ** t  # positive gradient: steps towards 0

    path = run_adam(Toward(), rates, beta1, beta2, 0.0, decay, start)
    radii = radii_along(
        lambda r: AdamBudget(r, d, beta1, beta2, decay, float(np.linalg.norm(start))), rates
    )
    np.testing.assert_allclose(np.linalg.norm(path, axis=1) / radii, 1.0, rtol=1e-10)
    bound = radius_from_budget(AdamBudget(rates, d, beta1, beta2, decay, 100.0))
    assert sum(bound.terms.values()) == pytest.approx(bound.value, rel=1e-14)
    # The recursion on |theta_t| (decay adds eta wd |theta|) is valid but never smaller.
    norm, loose = 100.0, 0.0
    for t, rate in enumerate(rates, start=1):
        step = rate * 2.0 * adam_step_factor(t, beta1, beta2)
        loose += rate * decay * norm + step
        norm = (1 - rate * decay) * norm + step
    assert bound.value <= loose


@pytest.mark.parametrize("decay", [0.3, 40.0, 150.0])  # a = eta wd on both sides of 1
def test_t13_adamw_is_the_recursion_unrolled(decay):
    rates = np.full(40, 0.01) * np.linspace(0.5, 1.5, 40)
    radius = 0.0
    for t, rate in enumerate(rates, start=1):
        a = rate * decay
        radius = abs(1 - a) * radius + a * 3.0 + rate * 2.0 * adam_step_factor(t)
    found = radius_from_budget(AdamBudget(rates, 4, weight_decay=decay, start_norm=3.0))
    assert found.value == pytest.approx(radius, rel=1e-12)


def brute_step_factor(t, beta1, beta2):
    j = np.arange(t)
    weight = (beta1**2 / beta2) ** j
    first = (1 - beta1) / (1 - beta1**t)
    return first * np.sqrt((1 - beta2**t) / (1 - beta2)) * np.sqrt(weight.sum())


@pytest.mark.parametrize(
    ("beta1", "beta2"), [(0.9, 0.999), (0.9, 0.95), (0.0, 0.9), (0.9, 0.81), (0.95, 0.9)]
)
def test_t13_step_factor_equals_the_direct_sum_and_the_cauchy_schwarz_sequence_attains_it(
    beta1, beta2
):
    steps = np.arange(1, 120)
    factors = adam_step_factor(steps, beta1, beta2)
    direct = [brute_step_factor(t, beta1, beta2) for t in steps]
    np.testing.assert_allclose(factors, direct, rtol=1e-12)
    assert factors[0] == pytest.approx(1.0, rel=1e-15)
    if beta1 == 0:
        return
    for t in (1, 2, 10, 60):
        g = (beta2 / beta1) ** np.arange(1, t + 1.0)
        j = t - np.arange(1, t + 1)
        m = (1 - beta1) * (beta1**j * g).sum() / (1 - beta1**t)
        v = (1 - beta2) * (beta2**j * g**2).sum() / (1 - beta2**t)
        assert m / np.sqrt(v) == pytest.approx(factors[t - 1], rel=1e-12)
        rng = np.random.default_rng(t)
        for _ in range(50):
            other = g * np.exp(0.3 * rng.normal(size=t))
            m = (1 - beta1) * (beta1**j * other).sum() / (1 - beta1**t)
            v = (1 - beta2) * (beta2**j * other**2).sum() / (1 - beta2**t)
            assert m / np.sqrt(v) <= factors[t - 1] * (1 + 1e-14)


def test_t13_step_factor_for_a_very_long_run():
    late = adam_step_factor(np.array([1e4, 1e6, 1e12]))
    limit = 0.1 / np.sqrt(0.001) / np.sqrt(1 - 0.81 / 0.999)
    np.testing.assert_allclose(late, limit, rtol=1e-4)
    assert adam_step_factor(1e9, 0.99, 0.9) == np.inf  # beta1^2 > beta2: no limit exists


@pytest.mark.parametrize("optimiser", ["AdamW", "Adam", "SGD"])
def test_t13_bounds_the_optimisers_of_torch(optimiser):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(5)
    start = torch.tensor(rng.normal(size=6), dtype=torch.float64)
    theta = torch.nn.Parameter(start.clone())
    rates, decay, norm = schedule(rng, 50), 0.4, float(start.norm())
    match optimiser:
        case "AdamW":
            made = torch.optim.AdamW([theta], lr=1.0, weight_decay=decay)
            budget = AdamBudget(rates, 6, weight_decay=decay, start_norm=norm)
        case "Adam":  # coupled decay is one more gradient
            made = torch.optim.Adam([theta], lr=1.0, weight_decay=decay)
            budget = AdamBudget(rates, 6)
        case "SGD":
            made = torch.optim.SGD([theta], lr=1.0, momentum=0.9, nesterov=True)
            budget = SgdBudget(rates, 0.5, 0.9, nesterov=True)
    for t, rate in enumerate(rates, start=1):
        made.param_groups[0]["lr"] = float(rate)
        theta.grad = torch.sign(start) * (0.999 / 0.9) ** t
        if optimiser == "SGD":
            torch.nn.utils.clip_grad_norm_([theta], 0.5)
        made.step()
    moved = float((theta.detach() - start).norm())
    radius = radius_from_budget(budget).value
    assert 0.9 * radius < moved <= radius * (1 + 1e-12)


def test_t13_groups_add_in_squares_and_batches_are_vectorised():
    rates = np.full(10, 0.1)
    one, two = AdamBudget(rates, 9), SgdBudget(2 * rates, 1.0, 0.5)
    separate = [radius_from_budget(b).value for b in (one, two)]
    joint = radius_from_budget([one, two])
    assert joint.value == pytest.approx(np.hypot(*separate), rel=1e-13)
    assert joint.value == pytest.approx(sum(joint.terms.values()), rel=1e-13)
    assert joint.quantity is Quantity.RADIUS
    assert joint.unit == ""
    grid = np.array([1e-5, 1e-4, 1e-3])[:, None] * np.ones(100)
    together = radius_from_budget(AdamBudget(grid, 100, weight_decay=0.1, start_norm=3.0)).value
    for rates, value in zip(grid, together, strict=True):
        single = AdamBudget(rates, 100, weight_decay=0.1, start_norm=3.0)
        assert radius_from_budget(single).value == pytest.approx(value, rel=1e-14)


def test_t13_without_clipping_sgd_has_no_radius():
    found = radius_from_budget(SgdBudget(np.array([0.1, 0.0]), np.inf))
    assert found.value == np.inf
    assert found.status is Status.VACUOUS
    still = radius_from_budget(SgdBudget(np.zeros(3), np.inf))
    assert still.value == 0.0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SgdBudget([], 1.0), "one rate"),
        (lambda: SgdBudget([-0.1], 1.0), "negative"),
        (lambda: SgdBudget([0.1], 0.0), "clip"),
        (lambda: SgdBudget([0.1], np.nan), "clip"),
        (lambda: SgdBudget([0.1], 1.0, 1.0), "momentum"),
        (lambda: AdamBudget([np.nan], 3), "not finite"),
        (lambda: AdamBudget([0.1], 0), "dimension"),
        (lambda: AdamBudget([0.1], 3, beta1=1.0), "beta1"),
        (lambda: AdamBudget([0.1], 3, beta2=0.0), "beta2"),
        (lambda: AdamBudget([0.1], 3, weight_decay=0.1), "start_norm"),
        (lambda: AdamBudget([0.1], 3, weight_decay=-0.1), "weight_decay"),
        (lambda: AdamBudget([0.1], 3, start_norm=-1.0), "start_norm"),
        (lambda: radius_from_budget([]), "at least one"),
        (lambda: lora_product_radius(-1.0, 1.0), "at least 0"),
    ],
)
def test_t13_refuses_what_makes_no_budget(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_lora_product_holds_per_module_and_jointly_and_is_attained_by_rank_one():
    rng = np.random.default_rng(4)
    factors = [(rng.normal(size=(3, 8)), rng.normal(size=(6, 3))) for _ in range(4)]
    norm_a, norm_b = (np.array([np.linalg.norm(f[i]) for f in factors]) for i in (0, 1))
    products = np.array([2.0 * np.linalg.norm(b @ a) for a, b in factors])
    each = lora_product_radius(norm_a, norm_b, scaling=2.0)
    assert (products <= each.value).all()
    joint = lora_product_radius(np.linalg.norm(norm_a), np.linalg.norm(norm_b), scaling=2.0)
    assert np.linalg.norm(products) <= joint.value
    a, b = rng.normal(size=(1, 8)), rng.normal(size=(6, 1))
    exact_product = lora_product_radius(np.linalg.norm(a), np.linalg.norm(b)).value
    assert np.linalg.norm(b @ a) == pytest.approx(exact_product, rel=1e-13)
    assert np.linalg.norm(b @ a) <= exact_product
    assert lora_product_radius(np.inf, 0.0).value == 0.0
