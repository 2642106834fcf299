"""T1 to T5 against the exact gaps: valid on 10,000 instances, tight on a witness, falsifiable."""

import numpy as np
import pytest

from theory.bound import Direction, Quantity, Status
from theory.exact import exact
from theory.loss_constraint import (
    comparator,
    floor_terms,
    mixture,
    overlap_mass,
    safety_floor,
    safety_gap_expansion,
    value_gap,
)
from theory.problem import Constant, Constants, Distribution, TabularProblem
from theory.strategy import Hybrid, LossConstraint, ParameterConstraint

STATEMENTS = [value_gap, comparator, mixture, overlap_mass, safety_floor]


def truths(problem, strategy):
    """The true value of every quantity at the exact minimiser."""
    solution = exact(problem, strategy)
    with np.errstate(invalid="ignore"):
        total = solution.capability_gap + solution.lam * solution.proxy_safety_gap
    return {
        Quantity.SAFETY_GAP: solution.safety_gap,
        Quantity.PROXY_SAFETY_GAP: solution.proxy_safety_gap,
        Quantity.CAPABILITY_GAP: solution.capability_gap,
        Quantity.WEIGHTED_SUM: total,
    }


@pytest.mark.parametrize("statement", STATEMENTS)
@pytest.mark.parametrize(
    "instances",
    [{}, {"perfect_proxy": True}, {"same_teacher": True}, {"aligned": "random"}],
    ids=lambda options: "-".join(options) or "general",
)
def test_no_violation_on_random_tables(rng, random_tabular, assert_valid, statement, instances):
    problem = random_tabular(rng, 10_000, **instances)
    strategy = LossConstraint(lam=10.0 ** rng.uniform(-6, 6, size=10_000))
    truth = truths(problem, strategy)
    applied = [
        assert_valid(bound, truth[bound.quantity], rtol=1e-9, atol=1e-300)
        for bound in statement(problem, strategy)
    ]
    assert max(applied) == 10_000


@pytest.mark.parametrize("statement", STATEMENTS)
def test_no_violation_in_the_epsilon_form(rng, random_tabular, assert_valid, statement):
    problem = random_tabular(rng, 2_000)
    strategy = LossConstraint(epsilon=10.0 ** rng.uniform(-6, 1, size=2_000))
    truth = truths(problem, strategy)
    for bound in statement(problem, strategy):
        assert_valid(bound, truth[bound.quantity], rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("statement", [value_gap, comparator])
def test_no_violation_on_random_quadratics(rng, random_quadratic, assert_valid, statement):
    problem = random_quadratic(rng, 5_000)
    strategy = LossConstraint(lam=10.0 ** rng.uniform(-3, 3, size=5_000))
    truth = truths(problem, strategy)
    scale = problem.capability_gap_at_aligned.max()
    for bound in statement(problem, strategy):
        assert_valid(bound, truth[bound.quantity], rtol=1e-9, atol=1e-13 * scale)


def contested(overlap: float = 0.5, *, disagreement: float = 1.0, proxy_target=None):
    """One contested context, one of safety alone, one of the task alone."""
    refuse, comply = [1.0, 0.0], [1.0 - disagreement, disagreement]
    safety = Distribution([overlap, 1 - overlap, 0.0], [refuse, refuse, refuse])
    task = Distribution([overlap, 0.0, 1 - overlap], [comply, comply, comply])
    proxy = None if proxy_target is None else Distribution(safety.context, [proxy_target] * 3)
    return TabularProblem(safety, task, proxy)


# statement, form, quantity, direction, instance, lambda: bound / truth is 1.00 to 1.02 there.
AGREEING = contested(0.5, disagreement=1e-4)
SOFT = TabularProblem(
    Distribution([1.0], [[0.5, 0.5]]), Distribution([1.0], [[0.5 + 1e-5, 0.5 - 1e-5]])
)
WITNESSES = [
    (overlap_mass, "logarithm", Quantity.PROXY_SAFETY_GAP, Direction.UPPER, contested(), 3.0),
    (overlap_mass, "logarithm", Quantity.CAPABILITY_GAP, Direction.UPPER, contested(), 3.0),
    (overlap_mass, "mass", Quantity.PROXY_SAFETY_GAP, Direction.UPPER, contested(), 3.0),
    (overlap_mass, "mass", Quantity.CAPABILITY_GAP, Direction.UPPER, contested(), 3.0),
    (overlap_mass, "linear", Quantity.PROXY_SAFETY_GAP, Direction.UPPER, contested(), 100.0),
    (overlap_mass, "linear", Quantity.CAPABILITY_GAP, Direction.UPPER, contested(), 0.01),
    (overlap_mass, "divergence", Quantity.PROXY_SAFETY_GAP, Direction.UPPER, SOFT, 1e-3),
    (overlap_mass, "divergence", Quantity.CAPABILITY_GAP, Direction.UPPER, SOFT, 1e3),
    (overlap_mass, "Pinsker", Quantity.PROXY_SAFETY_GAP, Direction.LOWER, SOFT, 1.0),
    (overlap_mass, "Pinsker", Quantity.CAPABILITY_GAP, Direction.LOWER, SOFT, 1.0),
    (mixture, "Pinsker", Quantity.WEIGHTED_SUM, Direction.LOWER, SOFT, 1.0),
    (mixture, "entropy", Quantity.WEIGHTED_SUM, Direction.UPPER, contested(), 1.0),
    (comparator, "task optimum", Quantity.PROXY_SAFETY_GAP, Direction.UPPER, SOFT, 1e-3),
    (comparator, "proxy optimum", Quantity.CAPABILITY_GAP, Direction.UPPER, SOFT, 1e3),
    (safety_floor, "logarithm", Quantity.SAFETY_GAP, Direction.UPPER, contested(), 3.0),
    (safety_floor, "linear", Quantity.SAFETY_GAP, Direction.UPPER, contested(), 100.0),
    (safety_floor, "same teacher", Quantity.SAFETY_GAP, Direction.UPPER, contested(), 100.0),
]


@pytest.mark.parametrize(
    ("statement", "form", "quantity", "direction", "problem", "lam"),
    WITNESSES,
    ids=[f"{w[0].__name__}-{w[1]}-{w[2]}" for w in WITNESSES],
)
def test_tight_on_a_witness_and_the_mutants_are_caught(
    pick, assert_valid, assert_tight, assert_mutant_caught, statement, form, quantity, direction,
    problem, lam,
):  # fmt: skip
    strategy = LossConstraint(lam=lam)
    truth = truths(problem, strategy)[quantity]
    bound = pick(statement(problem, strategy), form, quantity=quantity, direction=direction)
    assert_valid(bound, truth)
    assert_tight(bound, truth, ratio=1.0199)
    assert_mutant_caught(bound, truth)


def test_the_equalities_are_falsifiable(assert_valid, assert_mutant_caught, pick):
    problem, strategy = contested(proxy_target=[0.8, 0.2]), LossConstraint(lam=2.0)
    truth = truths(problem, strategy)
    for bound in [*mixture(problem, strategy), *safety_floor(problem, strategy)]:
        if bound.direction is Direction.EQUALITY:
            assert_valid(bound, truth[bound.quantity])
            assert_mutant_caught(bound, truth[bound.quantity])
            assert bound.status is Status.EXACT


def test_value_gap_with_a_perfect_proxy_is_within_a_factor_two_and_can_fail(
    pick, assert_valid, assert_mutant_caught
):
    """Best ratio of T1: 1 as lambda -> 0 on disjoint targets, 2 as lambda grows."""
    problem = TabularProblem(
        Distribution([1.0], [[0.5, 0.5]]),
        Distribution([1.0], [[0.9, 0.1]]),
    )
    strategy = LossConstraint(lam=1e3)
    bound = pick(value_gap(problem, strategy), "total variation")
    truth = truths(problem, strategy)[Quantity.SAFETY_GAP]
    assert_valid(bound, truth)
    assert bound.value / truth == pytest.approx(2.0, rel=5e-3)


def test_value_gap_mismatch_is_tight_within_a_factor_two():
    """The construction under T1: a set of contexts that the proxy misses altogether."""
    eta, depth = 0.1, 12.0
    low = np.exp(-depth)
    refuse, comply = [1 - low, low], [low, 1 - low]
    safety = Distribution([1 - eta, eta], [refuse, refuse])
    proxy = Distribution([1.0, 0.0], [refuse, refuse])
    task = Distribution([0.5, 0.5], [refuse, comply])
    problem = TabularProblem(safety, task, proxy)
    for lam in (1.0, 1e6):
        strategy = LossConstraint(lam=lam)
        bound = min(value_gap(problem, strategy), key=lambda b: b.value)
        truth = exact(problem, strategy).safety_gap
        assert truth >= 0.99 * eta * depth
        assert truth <= bound.value
    assert bound.value / truth < 2.02


def test_the_split_names_context_and_teacher(pick):
    problem = contested(proxy_target=[0.8, 0.2])
    bound = pick(value_gap(problem, LossConstraint(lam=1.0)), "context and teacher")
    assert bound.terms["context mismatch"] == 0.0
    assert bound.terms["teacher mismatch"] > 0.0
    same = pick(value_gap(contested(), LossConstraint(lam=1.0)), "context and teacher")
    assert same.terms["teacher mismatch"] == 0.0


def test_empty_overlap_or_agreement_costs_nothing():
    apart = contested(0.0)
    agreeing = contested(0.5, disagreement=0.0)
    for problem in (apart, agreeing):
        strategy = LossConstraint(lam=0.7)
        for bound in overlap_mass(problem, strategy):
            if bound.form in ("logarithm", "linear", "divergence"):
                assert bound.value == 0.0


def test_the_safety_gap_splits_into_its_four_causes(rng, random_tabular):
    problem = random_tabular(rng, 1_000, aligned="random")
    strategy = LossConstraint(lam=10.0 ** rng.uniform(-2, 2, size=1_000))
    (split,) = [b for b in safety_floor(problem, strategy) if b.direction is Direction.EQUALITY]
    assert set(split.terms) == {"contested", "teacher mismatch", "forgotten", "untouched"}
    np.testing.assert_allclose(split.value, exact(problem, strategy).safety_gap, rtol=1e-12)


def test_the_floor_is_the_limit_and_the_decay_is_as_expanded(rng):
    """Same teacher: lambda^-2 to zero; another teacher: lambda^-1 to a positive floor (T5)."""

    def distribution(targets=None):
        targets = rng.dirichlet(np.full(4, 3.0), (300, 5)) if targets is None else targets
        return Distribution(rng.dirichlet(np.full(5, 3.0), 300), targets)

    safety, task, other = distribution(), distribution(), distribution()
    same = TabularProblem(safety, task, distribution(safety.target))
    floor, first, second = safety_gap_expansion(same)
    assert np.all(floor == 0)
    assert np.all(first == 0)
    gap = exact(same, LossConstraint(lam=1e6)).safety_gap
    np.testing.assert_allclose(gap * 1e12, second, rtol=1e-2)

    mismatched = TabularProblem(safety, task, other)
    floor, first, _ = safety_gap_expansion(mismatched)
    np.testing.assert_allclose(floor, sum(floor_terms(mismatched).values()))
    gap = exact(mismatched, LossConstraint(lam=1e6)).safety_gap
    np.testing.assert_allclose((gap - floor) * 1e6, first, rtol=1e-2, atol=1e-3)
    # A negative coefficient: some finite lambda beats infinity.
    hurts = first < -1e-3
    assert hurts.mean() > 0.9
    lams = np.geomspace(1e-3, 1e7, 200)
    gaps = np.stack([exact(mismatched, LossConstraint(lam=v)).safety_gap for v in lams])
    assert np.all(gaps.min(axis=0)[hurts] < floor[hurts])


def test_an_estimated_constant_never_certifies():
    given = {"capability_gap_at_aligned": 0.5, "loss_range": 10.0, "tv": 0.01}
    strategy = LossConstraint(lam=1.0)
    (certified,) = value_gap(Constants(given), strategy)
    assert certified.status is Status.CERTIFIED
    assert certified.value == pytest.approx(0.5 + 2 * 10.0 * 0.01)
    estimated = Constants(given | {"tv": Constant(0.01, "estimated")})
    assert value_gap(estimated, strategy)[0].status is Status.ESTIMATED
    probable = Constants(
        given
        | {
            "tv": Constant(0.01, "high_probability", 0.01),
            "capability_gap_at_aligned": Constant(0.5, "high_probability", 0.02),
        }
    )
    (bound,) = value_gap(probable, strategy)
    assert bound.status is Status.HIGH_PROBABILITY
    assert bound.failure_probability == pytest.approx(0.03)
    vacuous = Constants(given | {"tv": 0.9})
    assert value_gap(vacuous, strategy)[0].status is Status.VACUOUS


def test_constants_agree_with_the_table_they_come_from(rng, random_tabular, instance):
    problem = instance(random_tabular(rng, 1, positive=True), 0)
    strategy = LossConstraint(lam=0.8)
    constants = Constants(
        {
            "overlap_task_mass": float(problem.task.context.sum()),
            "overlap_proxy_mass": float(problem.proxy.context.sum()),
            "proxy_floor": float(sum(floor_terms(problem).values())),
            "coverage_ratio": float((problem.safety.context / problem.proxy.context).max()),
            "overlap_safety_mass": 1.0,
        }
    )
    truth = exact(problem, strategy)
    for bound in [*overlap_mass(constants, strategy), *safety_floor(constants, strategy)]:
        assert bound.value >= getattr(truth, bound.quantity)
    table = {b.form: b.value for b in overlap_mass(problem, strategy) if b.form == "mass"}
    assert table["mass"] == pytest.approx(
        next(b.value for b in overlap_mass(constants, strategy) if b.quantity == "capability_gap")
    )


def test_what_does_not_apply_names_what_it_lacks():
    problem = contested()
    for statement in STATEMENTS:
        for strategy in (ParameterConstraint(1.0), Hybrid(lam=1.0, radius=1.0)):
            for bound in statement(problem, strategy):
                assert bound.status is not Status.NOT_APPLICABLE or bound.failed
    (bound,) = value_gap(Constants({"loss_range": 1.0}), LossConstraint(lam=1.0))
    assert "capability_gap_at_aligned" in bound.failed


def test_closed_forms_of_constants_need_an_exact_minimiser():
    """A policy within the slack of the minimum that exceeds what T4's mass form would say."""
    task, safety, lam = np.array([0.0, 1.0]), np.array([1.0, 0.0]), 1.0
    best, near = np.array([0.5, 0.5]), np.array([0.45, 0.55])

    def objective(p):
        return -np.log(p[1]) - lam * np.log(p[0])

    slack = objective(near) - objective(best)
    problem = TabularProblem(Distribution([1.0], [safety]), Distribution([1.0], [task]))
    strategy = LossConstraint(lam=lam)
    constants = {
        "overlap_task_mass": 1.0,
        "overlap_proxy_mass": 1.0,
        "proxy_floor": 0.0,
        "coverage_ratio": 1.0,
        "overlap_safety_mass": 1.0,
    }
    claimed = max(b.value for b in overlap_mass(Constants(constants), strategy))
    assert claimed == pytest.approx(exact(problem, strategy).proxy_safety_gap)
    assert -np.log(near[0]) > claimed  # the near-minimiser's own gap
    for name in ("optimality_slack", "uniform_deviation_safety", "uniform_deviation_task"):
        slow = Constants(constants | {name: slack})
        for b in [*overlap_mass(slow, strategy), *safety_floor(slow, strategy)]:
            assert b.status is Status.NOT_APPLICABLE
            assert name in b.failed


def test_sampled_losses_add_to_the_slack():
    """Minimising within delta on samples is minimising within delta + 2 lam e_n + 2 e_m'."""
    known = {
        "proxy_gap_at_task": 0.3,
        "capability_gap_at_proxy": 0.2,
        "quadratic_growth_proxy": 2.0,
        "lipschitz_task": 1.0,
    }
    lam, e_n, e_m = 4.0, 0.01, 0.02
    sampled = Constants(known | {"uniform_deviation_safety": e_n, "uniform_deviation_task": e_m})
    slow = Constants(known | {"optimality_slack": 2 * lam * e_n + 2 * e_m})
    for statement in (comparator, value_gap):
        values = [
            {
                (b.quantity, b.form): b.value
                for b in statement(problem, LossConstraint(lam=lam))
                if b.status is not Status.NOT_APPLICABLE
            }
            for problem in (sampled, slow, Constants(known))
        ]
        assert values[0] == pytest.approx(values[1])
        assert all(values[0][key] > values[2][key] for key in values[2])


def test_almost_the_same_teacher_is_another_teacher():
    """1e-16 of mass that the proxy's teacher lacks costs an infinite gap."""
    safety = Distribution([1.0, 0.0], [[1e-16, 1.0], [0.5, 0.5]])
    proxy = Distribution([1.0, 0.0], [[0.0, 1.0], [0.5, 0.5]])
    task = Distribution([0.0, 1.0], [[0.5, 0.5], [0.5, 0.5]])
    for b in safety_floor(TabularProblem(safety, task, proxy), LossConstraint(lam=1.0)):
        assert b.value == np.inf
