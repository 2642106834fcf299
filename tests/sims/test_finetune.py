"""Trained toy models end where theory's closed forms say, under every strategy."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sims.certificate import ball_gap, least_objective
from sims.finetune import Plan, Strength, align, finetune, project
from sims.models.log_linear import LogLinear
from sims.models.mlp import MLP
from sims.models.quadratic import Quadratic
from sims.models.table import Table
from sims.models.transformer import Transformer
from sims.pair import Knobs
from theory.exact import exact
from theory.problem import Distribution, QuadraticProblem, TabularProblem
from theory.strategy import Hybrid, LossConstraint, ParameterConstraint

N = 6
PLAN = Plan(steps=400, rate=0.3)
KNOBS = Knobs(*(jnp.full(N, value) for value in (0.6, 0.7, 0.2, 0.3, 0.5)))


def _strength(**values: float) -> Strength:
    return Strength(*(jnp.full(N, float(v)) for v in Strength()._replace(**values)))


class Trained:
    """One compiled program of a model class, for every strategy."""

    def __init__(self, model, plan: Plan) -> None:
        self.model, self.plan = model, plan
        self.keys = jax.random.split(jax.random.key(7), N)
        self.problem = jax.vmap(model.problem)(self.keys, KNOBS)
        start = jax.vmap(model.start)(self.keys, self.problem)
        aligning = jax.jit(jax.vmap(partial(align, model, plan=plan)))
        self.theta_s = aligning(self.problem, start, key=self.keys)
        self._run = jax.jit(
            jax.vmap(lambda p, t, s, k: finetune(model, p, t, s, plan, k)),
        )

    def __call__(self, **values: float):
        return self._run(self.problem, self.theta_s, _strength(**values), self.keys)


@pytest.fixture(scope="module")
def table() -> Trained:
    return Trained(Table(), PLAN)


@pytest.fixture(scope="module")
def quadratic() -> Trained:
    return Trained(Quadratic(), Plan(steps=1000, rate=0.2))


def _tabular_problem(trained: Trained) -> TabularProblem:
    pair = jax.tree.map(np.asarray, trained.problem.pair)
    logits = jax.vmap(trained.model.logits)(trained.theta_s, trained.problem.inputs)
    return TabularProblem(
        safety=Distribution(pair.rho_s, pair.mu_s),
        proxy=Distribution(pair.rho_hat, pair.mu_hat),
        task=Distribution(pair.rho_f, pair.mu_f),
        aligned=np.asarray(jax.nn.softmax(logits)),
    )


@pytest.mark.parametrize("lam", [0.1, 1.0, 30.0])
def test_a_table_ends_at_the_closed_form_of_case_one(table: Trained, lam: float) -> None:
    # An objective within 1e-12 of its minimum leaves about 1e-6 in each gap.
    run, truth = table(lam=lam), exact(_tabular_problem(table), LossConstraint(lam=lam))
    np.testing.assert_allclose(run.gaps.task, truth.capability_gap, rtol=1e-4, atol=1e-9)
    np.testing.assert_allclose(run.gaps.proxy, truth.proxy_safety_gap, rtol=1e-4, atol=1e-9)
    np.testing.assert_allclose(run.gaps.safety, truth.safety_gap, rtol=1e-4, atol=1e-9)


def test_dual_ascent_holds_the_proxy_gap_at_epsilon(table: Trained) -> None:
    run = table(epsilon=0.05)
    truth = exact(_tabular_problem(table), LossConstraint(epsilon=0.05))
    np.testing.assert_allclose(run.gaps.proxy, 0.05, rtol=1e-4)
    np.testing.assert_allclose(run.gaps.task, truth.capability_gap, rtol=1e-3)
    np.testing.assert_allclose(run.lam, truth.lam, rtol=1e-2)


def test_a_loose_epsilon_costs_nothing(table: Trained) -> None:
    run = table(epsilon=50.0)
    assert (run.gaps.task < 1e-4).all()
    assert (run.lam < 1e-3).all()


@pytest.mark.parametrize(
    ("values", "strategy"),
    [
        ({"lam": 1.0}, LossConstraint(lam=1.0)),
        ({"radius": 0.3}, ParameterConstraint(0.3)),
        ({"lam": 0.5, "radius": 0.3}, Hybrid(lam=0.5, radius=0.3)),
    ],
)
def test_a_bowl_ends_at_the_closed_form_of_each_strategy(quadratic, values, strategy) -> None:
    # theory's quadratic problem has one safety bowl: give it the proxy's, which is trained on.
    bowls = jax.tree.map(np.asarray, quadratic.problem)
    H, centre = bowls.H_hat, bowls.theta_hat
    if "lam" in values and "radius" in values:
        run = quadratic(**values)
        assert (run.moved[:, -1] <= 0.3 * (1 + 1e-9)).all()
        slack = jax.vmap(ball_gap)(run.theta, bowls.theta_s, jnp.full(N, 0.3), run.gradient)
        assert (slack < 1e-5).all()
        return
    if "radius" in values:
        problem = QuadraticProblem(bowls.H_s, bowls.H_f, bowls.theta_s, bowls.theta_f)
        run, truth = quadratic(**values), exact(problem, strategy)
        np.testing.assert_allclose(run.theta, truth.policy, atol=1e-5)
        return
    problem = QuadraticProblem(H, bowls.H_f, centre, bowls.theta_f)
    run, truth = quadratic(**values), exact(problem, strategy)
    np.testing.assert_allclose(run.gaps.task, truth.capability_gap, rtol=1e-4, atol=1e-9)
    np.testing.assert_allclose(run.gaps.proxy, truth.safety_gap, rtol=1e-4, atol=1e-9)


def test_a_radius_is_kept_and_zero_is_the_aligned_model(table: Trained) -> None:
    inside, still = table(radius=0.7), table(radius=0.0)
    assert (inside.moved <= 0.7 * (1 + 1e-12)).all()
    np.testing.assert_array_equal(np.asarray(still.theta), np.asarray(table.theta_s))
    assert (still.path.task == still.path.task[:, :1]).all()


def test_the_ball_gap_bounds_the_distance_to_the_minimum_in_the_ball(table: Trained) -> None:
    run = table(lam=0.5, radius=0.7)
    slack = jax.vmap(ball_gap)(run.theta, table.theta_s, jnp.full(N, 0.7), run.gradient)
    assert (slack < 1e-6).all()
    # A point of the ball that training did not choose is further from the minimum than it says.
    half = 0.5 * (run.theta + table.theta_s)
    gradient = jax.vmap(jax.grad(lambda t, p: _objective(table.model.gaps(t, p))))(
        half, table.problem
    )
    reached = _objective(jax.vmap(table.model.gaps)(half, table.problem))
    best = _objective(run.gaps)
    claimed = jax.vmap(ball_gap)(half, table.theta_s, jnp.full(N, 0.7), gradient)
    assert (claimed >= reached - best - 1e-12).all()


def _objective(gaps) -> jax.Array:
    return gaps.task + 0.5 * gaps.proxy


def test_no_policy_is_below_the_least_objective_and_the_table_reaches_it(table: Trained) -> None:
    for lam in (0.0, 0.5, 8.0):
        run = table(lam=lam)
        least = jax.vmap(least_objective)(table.problem.pair, jnp.full(N, lam))
        excess = run.gaps.task + lam * run.gaps.proxy - least
        assert (excess > -1e-13).all()
        assert (excess < 1e-9).all()


def test_early_stopping_ends_on_the_path_of_the_longer_run(table: Trained) -> None:
    plan = Plan(steps=80, rate=0.1, constant=True, points=4)
    trained = Trained(Table(), plan)
    whole, half = trained(), trained(stop=0.5)
    np.testing.assert_allclose(half.gaps.task, whole.path.task[:, 2], rtol=1e-12)
    assert (half.path.safety[:, 2:] == half.path.safety[:, 2:3]).all()


def test_sampled_gradients_reach_the_same_point_less_precisely() -> None:
    noisy = Trained(Table(), Plan(steps=400, rate=0.1, batch=64))
    run = noisy(lam=1.0)
    least = jax.vmap(least_objective)(noisy.problem.pair, jnp.ones(N))
    excess = np.asarray(run.gaps.task + run.gaps.proxy - least)
    assert (excess < 0.1).all()
    assert (excess > 1e-9).any()


@pytest.mark.parametrize("model", [Table(), LogLinear(), MLP(), Transformer(), Quadratic()])
def test_gradients_of_sampled_problems_are_unbiased(model) -> None:
    key = jax.random.key(1)
    knobs = Knobs(0.5, 0.5, 0.1, 0.2, 0.5)
    problem = model.problem(key, knobs)
    theta = model.start(key, problem) + 0.01
    gradient = jax.grad(lambda t, p: sum(model.gaps(t, p)))
    drawn = jax.jit(jax.vmap(lambda k: gradient(theta, model.sampled(k, problem, 32))))
    draws = np.asarray(drawn(jax.random.split(jax.random.key(2), 400)))
    error = draws.std(axis=0) / np.sqrt(len(draws)) + 1e-6
    scores = (draws.mean(axis=0) - np.asarray(gradient(theta, problem))) / error
    # Thousands of coordinates: six standard errors each.
    assert np.abs(scores).max() < 6


@pytest.mark.parametrize("model", [LogLinear(), MLP()])
def test_feature_classes_fit_what_their_features_can_tell_apart(model) -> None:
    trained = Trained(model, Plan(steps=400, rate=0.3 if model.name == "log-linear" else 0.03))
    aligned = jax.vmap(model.gaps)(trained.theta_s, trained.problem)
    assert (aligned.safety < 1e-8).all()
    assert (trained().gaps.task < 1e-8).all()


def test_a_transformer_aligns_and_its_prompt_logits_do_not_see_the_answer() -> None:
    model = Transformer()
    trained = Trained(model, Plan(steps=300, rate=0.01))
    aligned = jax.vmap(model.gaps)(trained.theta_s, trained.problem)
    assert (aligned.safety < 5e-3).all()
    assert (trained().gaps.safety > 20 * aligned.safety).all()


def test_projection_is_the_nearest_point_of_the_ball() -> None:
    centre, theta = jnp.array([1.0, 0.0]), jnp.array([1.0, 5.0])
    np.testing.assert_allclose(project(theta, centre, 2.0), [1.0, 2.0])
    np.testing.assert_array_equal(project(theta, centre, 7.0), theta)
    np.testing.assert_array_equal(project(centre, centre, 0.0), centre)


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"points": 0}, {"batch": 0}])
def test_a_plan_without_a_step_is_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Plan(**wrong)
