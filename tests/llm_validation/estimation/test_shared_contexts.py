"""Rows as a tabular problem: what shared prompts force, by hand and against the front."""

import numpy as np
import pytest

from llm_validation.data.builtin import builtin_dataset
from llm_validation.data.dataset import Dataset
from llm_validation.estimation.shared_contexts import shared_contexts
from theory.exact import exact, frontier
from theory.strategy import LossConstraint


def dataset(*pairs):
    return Dataset.of(list(pairs), name="made")


def test_one_conflicting_prompt_of_two_costs_what_the_theorem_says():
    safety = dataset(("How?", "No."), ("Why?", "Because."))
    task = dataset(("how?  ", "Sure."), ("When?", "Now."))
    shared = shared_contexts(safety, task)
    assert (shared.shared, shared.conflicting) == (1, 1)
    assert shared.prompts[0] == "How?"
    lam = 3.0
    solution = exact(shared.problem, LossConstraint(lam=lam))
    # Both masses are 1/2 and the answers are disjoint (T4's case of equality).
    assert solution.safety_gap == pytest.approx(0.5 * np.log1p(1 / lam))
    assert solution.capability_gap == pytest.approx(0.5 * np.log1p(lam))


def test_agreement_and_disjoint_prompts_cost_nothing():
    safety = dataset(("How?", "No."), ("Why?", "Because."))
    agreeing = dataset(("how?", "no. "), ("When?", "Now."))
    apart = dataset(("Where?", "There."), ("When?", "Now."))
    for task, counts in ((agreeing, (1, 0)), (apart, (0, 0))):
        shared = shared_contexts(safety, task)
        assert (shared.shared, shared.conflicting) == counts
        front = frontier(shared.problem, [0.1, 1.0, 10.0])
        assert np.all(front.safety_gap == 0)
        assert np.all(front.capability_gap == 0)


def test_repeated_prompts_become_distributions_over_answers():
    safety = dataset(("How?", "No."), ("How?", "No."), ("How?", "Sure."), ("Why?", "So."))
    task = dataset(("How?", "Sure."), ("How?", "Sure."))
    problem = shared_contexts(safety, task).problem
    assert problem.safety.context[0] == pytest.approx(0.75)
    assert sorted(problem.safety.target[0]) == pytest.approx([1 / 3, 2 / 3])
    assert problem.task.context[0] == 1.0


def test_a_proxy_that_misses_a_contested_prompt_leaves_it_uncovered():
    safety = dataset(("How?", "No."), ("Why?", "So."))
    task = dataset(("How?", "Sure."), ("When?", "Now."))
    proxy = dataset(("Why?", "So."), ("Who?", "Me."))
    shared = shared_contexts(safety, task, proxy)
    solution = exact(shared.problem, LossConstraint(lam=100.0))
    assert solution.proxy_safety_gap == 0.0
    assert solution.safety_gap == np.inf  # forgotten: the task's answer replaces the refusal


def test_every_context_has_all_its_mass_and_order_does_not_matter():
    safety, task = builtin_dataset("safety"), builtin_dataset("task-general")
    shared = shared_contexts(safety, task)
    assert shared.shared == 60
    assert shared.problem.safety.context.sum() == pytest.approx(1.0)
    turned = Dataset.of(list(reversed(task.examples)), name="turned")
    again = shared_contexts(safety, turned)
    np.testing.assert_array_equal(shared.problem.task.context, again.problem.task.context)
    assert shared.prompts == again.prompts
