"""``evaluate``: every statement on one problem, a batch in one call; ``best``: the tightest."""

import numpy as np
import pytest

import theory
from theory.bound import Direction, Quantity, Status, bound
from theory.evaluation import STATEMENTS, best, evaluate
from theory.exact import exact
from theory.problem import Constant, Constants, Distribution, TabularProblem
from theory.statement import discover, statement
from theory.strategy import Hybrid, LossConstraint, ParameterConstraint

STRATEGIES = [
    LossConstraint(lam=0.7),
    LossConstraint(epsilon=0.05),
    ParameterConstraint(0.5),
    Hybrid(lam=0.7, radius=0.5),
]


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda s: type(s).__name__)
def test_every_statement_answers_or_says_what_it_lacks(
    rng, random_tabular, random_quadratic, instance, strategy
):
    problems = [
        instance(random_tabular(rng, 1), 0),
        instance(random_quadratic(rng, 1), 0),
        Constants({"capability_gap_at_aligned": 0.5, "loss_range": 8.0, "tv": 0.01}),
    ]
    for problem in problems:
        bounds = evaluate(problem, strategy)
        assert {b.statement for b in bounds} == set(STATEMENTS)
        for b in bounds:
            assert not np.isnan(b.value)
            assert (b.status == Status.NOT_APPLICABLE) == bool(b.failed)


@pytest.mark.parametrize("strategy_of", [
    lambda lam, radius: LossConstraint(lam=lam),
    lambda lam, radius: ParameterConstraint(radius),
    lambda lam, radius: Hybrid(lam=lam, radius=radius),
])  # fmt: skip
def test_a_batch_equals_its_instances(rng, random_tabular, instance, strategy_of):
    n = 2_500  # more than one pass of the chunked evaluation
    problem = random_tabular(rng, n, aligned="near")
    lam, radius = 10.0 ** rng.uniform(-2, 2, n), 10.0 ** rng.uniform(-2, 1, n)
    batch = evaluate(problem, strategy_of(lam, radius))
    for i in (0, 1, 1_023, 1_024, n - 1):
        single = evaluate(instance(problem, i), strategy_of(float(lam[i]), float(radius[i])))
        assert [b.statement for b in single] == [b.statement for b in batch]
        for one, many in zip(single, batch, strict=True):
            value = np.broadcast_to(many.value, (n,))[i]
            status = np.broadcast_to(many.status, (n,))[i]
            assert status == one.status, (one.statement, one.form)
            assert value == one.value or value == pytest.approx(one.value, rel=1e-12)


def test_the_tightest_of_all_bounds_brackets_the_truth(rng, random_tabular, instance):
    problem = random_tabular(rng, 200)
    for i in range(200):
        one = instance(problem, i)
        strategy = LossConstraint(lam=float(10.0 ** rng.uniform(-2, 2)))
        bounds = evaluate(one, strategy)
        solution = exact(one, strategy)
        for quantity in (Quantity.SAFETY_GAP, Quantity.PROXY_SAFETY_GAP, Quantity.CAPABILITY_GAP):
            truth = float(getattr(solution, quantity))
            upper, lower = best(bounds, quantity, "upper"), best(bounds, quantity, "lower")
            assert lower.value <= truth * (1 + 1e-9) + 1e-300
            assert upper.value >= truth * (1 - 1e-9)
            assert upper.value <= truth * (1 + 1e-9) + 1e-300  # an equality competes


def test_best_adds_up_failure_probabilities_and_leaves_estimates_out():
    def made(value, constant=None, direction=Direction.UPPER):
        used = () if constant is None else (constant,)
        return bound("T1", Quantity.SAFETY_GAP, direction, {"all": value}, constants=used)

    first = made(0.3, Constant(1.0, "high_probability", 0.01))
    second = made(0.2, Constant(1.0, "high_probability", 0.02))
    estimated = made(0.1, Constant(1.0, "estimated"))
    chosen = best([first, second, estimated], "safety_gap", "upper")
    assert chosen.value == 0.2
    assert chosen.failure_probability == pytest.approx(0.03)
    assert chosen.winner is second
    relaxed = best([first, second, estimated], "safety_gap", "upper", allow_estimated=True)
    assert relaxed.value == 0.1
    assert relaxed.status is Status.ESTIMATED
    nothing = best([estimated], "safety_gap", "upper")
    assert nothing.winner is None
    assert nothing.value == np.inf
    with pytest.raises(ValueError, match="one instance"):
        best([made(np.array([0.1, 0.2]))], "safety_gap", "upper")


def test_an_unknown_statement_is_refused():
    problem = Constants({"loss_range": 1.0})
    with pytest.raises(ValueError, match="unknown statements"):
        evaluate(problem, LossConstraint(lam=1.0), statements=["T99"])


def test_zero_mass_everywhere_it_can_be():
    """Contexts and responses of mass zero, disjoint supports: right, never NaN."""
    safety = Distribution([1.0, 0.0, 0.0], [[1, 0, 0], [0, 1, 0], [0, 0, 1]])
    task = Distribution([0.5, 0.5, 0.0], [[0, 1, 0], [0, 1, 0], [0, 0, 1]])
    proxy = Distribution([0.0, 1.0, 0.0], [[1, 0, 0], [1, 0, 0], [1, 0, 0]])
    for strategy in STRATEGIES:
        for b in evaluate(TabularProblem(safety, task, proxy), strategy):
            assert not np.isnan(b.value)
            assert not any(np.isnan(term) for term in b.terms.values())


# --- declared statements -------------------------------------------------------------------------

ADDED = """from theory.bound import Direction, Quantity, bound
from theory.problem import TabularProblem
from theory.statement import statement
from theory.strategy import LossConstraint


@statement("T{number}", Quantity.SAFETY_GAP, of=(TabularProblem,), under=(LossConstraint,))
def added(problem, strategy):
    return [bound("T{number}", Quantity.SAFETY_GAP, Direction.UPPER, {{"all": 7.0}})]
"""


@pytest.fixture
def own_statements():
    before = dict(STATEMENTS)
    yield
    STATEMENTS.clear()
    STATEMENTS.update(before)


def test_a_file_more_is_a_statement_more_in_the_order_of_the_numbers(
    tmp_path, monkeypatch, own_statements, rng, random_tabular, random_quadratic, instance
):
    before = list(STATEMENTS)
    assert before == [*(f"T{i}" for i in range(1, 13)), "T21", "T22"]
    for name, number in (("later", 1002), ("sooner", 1001)):
        (tmp_path / f"{name}.py").write_text(ADDED.format(number=number), encoding="utf-8")
    monkeypatch.setattr(theory, "__path__", [*theory.__path__, str(tmp_path)])
    discover()
    assert list(STATEMENTS) == [*before, "T1001", "T1002"]
    table, quadratic = instance(random_tabular(rng, 1), 0), instance(random_quadratic(rng, 1), 0)
    told = {
        (type(problem), type(strategy)): evaluate(problem, strategy, statements=["T1001"])[0]
        for problem in (table, quadratic)
        for strategy in STRATEGIES
    }
    assert told.pop((TabularProblem, LossConstraint)).value == 7.0
    assert {b.status for b in told.values()} == {Status.NOT_APPLICABLE}
    assert {b.failed for b in told.values()} == {
        "needs a tabular problem",
        "needs a loss constraint",
    }


def test_a_statement_has_a_name_of_its_own(own_statements):
    def taken(problem, strategy):
        return []

    with pytest.raises(ValueError, match="not 'quarter'"):
        statement("quarter", Quantity.SAFETY_GAP)(taken)
    with pytest.raises(ValueError, match=r"T3 stands in theory\.loss_constraint\.tabular and in"):
        statement("T3", Quantity.SAFETY_GAP)(taken)
    assert STATEMENTS["T3"].__module__ == "theory.loss_constraint.tabular"
