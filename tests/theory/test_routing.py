"""T18: exact identities of a router, its vanishing on separable contexts, and the split."""

from __future__ import annotations

import numpy as np
import pytest

from theory.bound import Direction, Quantity, Status
from theory.divergence import kl, mass_sum
from theory.exact import exact
from theory.limits import front_floor
from theory.problem import Distribution, TabularProblem
from theory.routing import (
    PairedLosses,
    measured_routing,
    routing,
    separating_mismatch,
    split_safety_gap,
)
from theory.strategy import LossConstraint

X, V, BATCH = 6, 4, 50


def distribution(rng, batch=(BATCH,)):
    return Distribution(
        rng.dirichlet(np.ones(X), size=batch), rng.dirichlet(np.ones(V), size=(*batch, X))
    )


def random_case(seed, *, aligned=False):
    rng = np.random.default_rng(seed)
    safety, task = distribution(rng), distribution(rng)
    start = rng.dirichlet(np.ones(V), size=(BATCH, X)) if aligned else None
    problem = TabularProblem(safety, task, aligned=start)
    rule = rng.random((BATCH, X)) < 0.5
    return problem, rule, rng.dirichlet(np.ones(V), size=(BATCH, X))


def by(bounds):
    return {(b.quantity, b.direction): b for b in bounds}


@pytest.mark.parametrize("aligned", [False, True])
def test_a_router_has_exactly_the_gaps_of_the_policy_that_it_is(aligned):
    problem, rule, task_policy = random_case(0, aligned=aligned)
    policy = np.where(rule[..., None], task_policy, problem.aligned)
    truth = {
        Quantity.SAFETY_GAP: mass_sum(problem.safety.context, kl(problem.safety.target, policy)),
        Quantity.CAPABILITY_GAP: mass_sum(problem.task.context, kl(problem.task.target, policy)),
    }
    found = by(routing(problem, rule, task_policy))
    for quantity, value in truth.items():
        same = found[quantity, Direction.EQUALITY]
        np.testing.assert_allclose(same.value, value, rtol=1e-12)
        assert (same.status == Status.EXACT).all()
        upper = found[quantity, Direction.UPPER]
        assert (upper.value >= value * (1 - 1e-12)).all()
        np.testing.assert_allclose(sum(upper.terms.values()), upper.value, rtol=1e-14)
    # Swapping the rule must show: the identity is not blind to it.
    swapped = by(routing(problem, ~rule, task_policy))
    assert not np.allclose(
        swapped[Quantity.SAFETY_GAP, Direction.EQUALITY].value, truth[Quantity.SAFETY_GAP]
    )


def test_the_upper_bound_is_attained_by_an_exactly_aligned_model():
    problem, rule, task_policy = random_case(1)
    found = by(routing(problem, rule, task_policy))
    np.testing.assert_allclose(
        found[Quantity.SAFETY_GAP, Direction.UPPER].value,
        found[Quantity.SAFETY_GAP, Direction.EQUALITY].value,
        rtol=1e-14,
    )
    best = by(routing(problem, rule, problem.task.target))
    np.testing.assert_allclose(
        best[Quantity.CAPABILITY_GAP, Direction.UPPER].value,
        best[Quantity.CAPABILITY_GAP, Direction.EQUALITY].value,
        rtol=1e-14,
    )


def test_separable_contexts_cost_nothing_even_where_models_disagree_completely():
    context = np.array([[0.5, 0.5, 0.0, 0.0], [0.0, 0.0, 0.5, 0.5]])
    never, always = np.eye(2)[[0, 0, 0, 0]], np.eye(2)[[1, 1, 1, 1]]
    problem = TabularProblem(Distribution(context[0], never), Distribution(context[1], always))
    rule = context[1] > 0
    for found in routing(problem, rule, always):
        assert found.value == 0.0
    assert separating_mismatch(problem, rule) == (0.0, 0.0)
    # A rule that sends one safety context away loses it altogether.
    wrong = rule.copy()
    wrong[0] = True
    assert by(routing(problem, wrong, always))[Quantity.SAFETY_GAP, Direction.UPPER].value == np.inf


def test_what_a_rule_sends_the_wrong_way_is_at_least_the_overlap():
    problem, _, _ = random_case(2)
    shared = np.minimum(problem.safety.context, problem.task.context).sum(axis=-1)
    best = problem.task.context > problem.safety.context
    np.testing.assert_allclose(sum(separating_mismatch(problem, best)), shared, rtol=1e-12)
    rng = np.random.default_rng(0)
    for _ in range(20):
        rule = rng.random((BATCH, X)) < 0.5
        assert (sum(separating_mismatch(problem, rule)) >= shared - 1e-12).all()


def test_measured_losses_give_the_tabular_router():
    problem, rule, task_policy = random_case(3)
    safety, task = problem.safety, problem.task
    found = by(routing(problem, rule, task_policy))
    own = mass_sum(task.context, kl(task.target, task_policy))
    for i in range(5):
        # One example for each (context, response); a token count in proportion to its probability.
        columns = []
        for side in (safety, task):
            weight = (side.context[i][:, None] * side.target[i]).ravel()
            columns.append(
                PairedLosses(
                    aligned=weight * -np.log(problem.aligned[i]).ravel(),
                    task=weight * -np.log(task_policy[i]).ravel(),
                    to_task=np.repeat(rule[i], V),
                    tokens=weight,
                )
            )
        router = measured_routing(*columns)
        safety_gap = found[Quantity.SAFETY_GAP, Direction.EQUALITY].value[i]
        capability = found[Quantity.CAPABILITY_GAP, Direction.EQUALITY].value[i] - own[i]
        assert router.safety_increase == pytest.approx(safety_gap, abs=1e-12)
        assert router.capability_gap == pytest.approx(capability, abs=1e-12)


def test_measured_routing_by_hand_weights_tokens_and_pairs_examples():
    safety = PairedLosses([1.0, 2.0], [4.0, 3.0], np.array([True, False]), [2, 2])
    task = PairedLosses([5.0, 1.0], [1.0, 0.5], np.array([False, True]), [1, 3])
    router = measured_routing(safety, task)
    assert router.safety_increase == pytest.approx(3.0 / 4)
    assert router.unrouted_safety_increase == pytest.approx(4.0 / 4)
    assert router.capability_gap == pytest.approx(4.0 / 4)
    assert router.unrouted_capability_gap == pytest.approx(4.5 / 4)


def policy_gaps(problem, policy):
    return [
        mass_sum(side.context, kl(side.target, policy)) for side in (problem.safety, problem.task)
    ]


def test_the_split_holds_the_true_least_gap_of_every_fine_tune():
    problem, _, _ = random_case(4)
    rng = np.random.default_rng(5)
    # The router with the task model everywhere but where safety is heavier.
    rule = problem.task.context > 0.5 * problem.safety.context
    routed = by(routing(problem, rule, problem.task.target))
    router = [
        routed[q, Direction.EQUALITY].value for q in (Quantity.SAFETY_GAP, Quantity.CAPABILITY_GAP)
    ]
    within = 0
    for _ in range(20):
        mix = rng.random((BATCH, X, 1))
        policy = mix * problem.task.target + (1 - mix) * rng.dirichlet(np.ones(V), (BATCH, X))
        safety_gap, capability_gap = policy_gaps(problem, policy)
        # T10's limit at this capability, from one lambda; the front itself for comparison.
        point = exact(problem, LossConstraint(lam=1.0))
        limit = np.maximum(point.safety_gap + point.capability_gap - capability_gap, 0.0)
        split = split_safety_gap(
            safety_gap,
            capability_gap,
            limit=limit,
            router_safety_gap=router[0],
            router_capability_gap=router[1],
        )
        np.testing.assert_allclose(split.unavoidable_lower + split.interference_upper, safety_gap)
        np.testing.assert_allclose(split.unavoidable_upper + split.interference_lower, safety_gap)
        assert (split.unavoidable_lower <= split.unavoidable_upper).all()
        assert (split.interference_lower >= 0).all()
        # Neither end can be passed: at the lower end capability would have to be worse ...
        floor = front_floor(problem, split.unavoidable_lower * (1 - 1e-9))
        positive = split.unavoidable_lower > 1e-6
        assert (floor[positive] >= capability_gap[positive] - 1e-6).all()
        # ... and the upper end is reached by a policy of that capability.
        floor = front_floor(problem, split.unavoidable_upper)
        assert (floor <= capability_gap + 1e-9).all()
        within += int((split.unavoidable_upper < safety_gap).sum())
    assert within > 50


def test_a_router_that_is_less_capable_proves_nothing_about_interference():
    numbers = {"limit": 0.1, "router_safety_gap": 0.2}
    better = split_safety_gap(0.5, 0.3, router_capability_gap=0.3, **numbers)
    assert better.interference_lower == pytest.approx(0.3)
    worse = split_safety_gap(0.5, 0.3, router_capability_gap=0.31, **numbers)
    assert worse.interference_lower == 0.0
    assert worse.interference_upper == pytest.approx(0.4)
    with pytest.raises(ValueError, match="lower bound"):
        split_safety_gap(0.5, 0.3, limit=0.25, router_safety_gap=0.2, router_capability_gap=0.1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rule": np.ones(X)}, "True"),
        ({"rule": np.ones(X + 1, dtype=bool)}, "must fit"),
        ({"policy": np.ones((X, V))}, "sum to 1"),
        ({"policy": -np.ones((X, V))}, "negative"),
        ({"policy": np.ones((X, V + 1)) / (V + 1)}, "must fit"),
    ],
)
def test_a_bad_rule_or_policy_is_refused(change, message):
    problem, rule, policy = random_case(6)
    with pytest.raises(ValueError, match=message):
        routing(problem, change.get("rule", rule), change.get("policy", policy))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (([1.0], [1.0, 2.0], np.array([True])), "one entry"),
        (([], [], np.array([], dtype=bool)), "no example"),
        (([1.0], [np.nan], np.array([True])), "finite"),
        (([1.0], [1.0], np.array([1])), "True or False"),
        (([1.0], [1.0], np.array([True]), [0]), "at least one token"),
    ],
)
def test_bad_measurements_are_refused(columns, message):
    with pytest.raises(ValueError, match=message):
        PairedLosses(*columns)
