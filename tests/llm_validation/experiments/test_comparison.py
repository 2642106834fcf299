"""Bounds beside measurements: what holds by arithmetic holds, and what is false is called so."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from finebound.results.comparison import BoundCounts, ComparedBound, violated_certain
from llm_validation.data.dataset import Dataset
from llm_validation.experiments.comparison import (
    _oscillation,
    _verdict,
    compare,
    row_tv,
    tightest,
)
from llm_validation.experiments.data_limits import data_limits
from llm_validation.measure.losses import Losses
from theory.bound import Direction, Quantity, Status, bound
from theory.problem import Constant

RISE = "safety loss rise"


def upper(value, *, constant=None, trivial=np.inf):
    return bound(
        "T1", Quantity.SAFETY_LOSS_INCREASE, Direction.UPPER, {"term": value},
        constants=[constant] if constant else [], trivial=trivial,
    )  # fmt: skip


def compared(b, measured, **more):
    told = {"run": "r", "step": 4, "fraction": 1.0, "when": "a posteriori", "what": RISE} | more
    return ComparedBound.beside(b, measured, verdict=_verdict(b, measured), **told)


def losses(sums, tokens):
    return Losses(np.asarray(sums, dtype=np.float64), np.asarray(tokens, dtype=np.int64))


def test_verdicts():
    assert _verdict(upper(0.5), 0.4) == "held"
    assert _verdict(upper(0.5), 0.5 + 1e-7) == "held"  # float32 rounding of a loss
    assert _verdict(upper(0.5), 0.501) == "violated"
    assert _verdict(upper(20.0, trivial=10.0), 0.4) == "vacuous"
    assert _verdict(dataclasses.replace(upper(0.5), direction=Direction.LOWER), 0.4) == "violated"


def test_only_a_certain_violation_fails():
    certain = compared(upper(0.1), 0.5)
    estimated = compared(upper(0.1, constant=Constant(0.1, "estimated")), 0.5)
    likely = compared(upper(0.1, constant=Constant(0.1, "high_probability", 0.05)), 0.5)
    assert violated_certain([certain, estimated, likely]) == [certain, likely]
    found = BoundCounts.of([certain, estimated, likely])
    assert (found.violated, found.violated_certain, found.violated_estimated) == (3, 2, 1)


def test_ratio_is_for_positive_numbers_only():
    assert compared(upper(0.5), 0.25).ratio == pytest.approx(2.0)
    assert compared(upper(0.5), -0.25).ratio is None
    assert compared(upper(np.inf), 0.25).ratio is None


def test_the_tightest_is_of_the_end_and_says_something():
    entries = [
        compared(upper(0.6), 0.1),
        compared(upper(0.5), 0.1, step=2),
        compared(upper(0.2), 0.1, when="a priori"),
        compared(upper(0.3, trivial=0.2), 0.1),
    ]
    assert tightest(entries, "r", when="a posteriori").value == 0.6
    assert tightest(entries, "other", when="a posteriori") is None


def test_total_variation_weighs_rows_by_their_tokens():
    safety = Dataset.of([("p", "a"), ("q", "b")], name="safety")
    proxy = Dataset.of([("p", "a"), ("p", "other")], name="proxy")
    found = {"safety": losses([1, 1], [3, 1]), "proxy.x": losses([1, 1], [1, 1])}
    # Masses: safety (3/4, 1/4, 0), proxy (1/2, 0, 1/2).
    assert row_tv(safety, proxy, found, "proxy.x") == pytest.approx(0.5)
    same = {"safety": found["safety"], "proxy.x": found["safety"]}
    assert row_tv(safety, safety, same, "proxy.x") == 0.0


def test_oscillation_is_of_row_means():
    start = {"a": losses([2.0, 4.0], [2, 4]), "b": losses([1.0], [1])}
    end = {"a": losses([3.0, 2.0], [2, 4]), "b": losses([1.25], [1])}
    assert _oscillation(start, end, ("a", "b")) == pytest.approx(0.5 - -0.5)


def test_value_gap_follows_from_the_losses_alone(finished):
    """T1 with the measured slack is arithmetic: it is recomputed here from the row losses."""
    m = next(m for m in finished.measured if m.run.proxy == "same-teacher")
    mine = [c for c in compare(m, finished.prepared, None) if c.what == "proxy loss rise"]
    after = next(c for c in mine if c.when == "a posteriori" and c.step == m.last)
    gained = -m.change("task.general")
    rise = m.change("proxy.same-teacher")
    slack = max(0.0, -gained + 2.0 * rise)
    assert after.status == Status.CERTIFIED
    assert after.value == pytest.approx((max(gained, 0.0) + slack) / 2.0)
    assert after.measured == pytest.approx(rise)
    foreseen = next(c for c in mine if c.when == "a priori" and c.step == m.last)
    assert foreseen.value == pytest.approx(m.loss(0, "task.general") / 2.0)


def test_a_perfect_proxy_certifies_the_safety_loss(finished):
    m = next(m for m in finished.measured if m.run.proxy == "original")
    mine = [c for c in compare(m, finished.prepared, None) if c.what == RISE]
    assert {c.status for c in mine} <= {Status.CERTIFIED, Status.VACUOUS}
    assert {c.when for c in mine} == {"a priori", "a posteriori"}


def test_losses_that_break_the_theory_are_found(finished):
    """Task and proxy losses cannot both rise while the record says the objective fell."""
    m = next(m for m in finished.measured if m.run.proxy == "same-teacher")
    end = dict(m.losses[m.last])
    proxy = end["proxy.same-teacher"]
    end["proxy.same-teacher"] = Losses(proxy.token_sum + 50.0, proxy.token_count)
    broken = dataclasses.replace(m, losses={**m.losses, m.last: end})
    foreseen = [
        c for c in compare(broken, finished.prepared, None)
        if c.what == "proxy loss rise" and c.when == "a priori" and c.step == m.last
    ]  # fmt: skip
    # The premise (the objective did not rise) is false, so the bound claims nothing.
    assert [c.verdict for c in foreseen] == ["premise failed"]


def test_a_displacement_beyond_the_radius_is_a_violation(finished):
    m = next(m for m in finished.measured if m.run.plan.radius)
    far = {**m.finetuned.steps, "displacement": m.finetuned.steps["displacement"] * 3.0}
    broken = dataclasses.replace(m, finetuned=dataclasses.replace(m.finetuned, steps=far))
    certain = violated_certain(compare(broken, finished.prepared, None))
    assert {c.statement for c in certain} == {"constraint"}
    assert not violated_certain(compare(m, finished.prepared, None))


def test_what_one_prompt_with_two_answers_costs():
    safety = Dataset.of([("p", "no"), ("q", "a")], name="safety")
    task = Dataset.of([("p", "yes"), ("r", "b")], name="task.t")
    limits = data_limits(SimpleNamespace(sets={"safety": safety, "task.t": task}), "t")
    assert (limits.shared, limits.conflicting) == (1, 1)
    assert limits.entropies == (0.0, 0.0)
    one = next(b for lam, b in limits.weighted if lam == 1.0)
    # At lambda 1 the best answer is a fair coin: log 2 on each half-mass context.
    assert one.value == pytest.approx(np.log(2.0))
    # A policy with no capability gap answers "yes" and never "no"; one of large gap may be safe.
    assert limits.least_safety_gap(0.0) > 0.0
    assert limits.least_safety_gap(50.0) == 0.0


def test_prompts_that_differ_in_case_are_different_contexts():
    safety = Dataset.of([("P", "no"), ("q", "a")], name="safety")
    task = Dataset.of([("p", "yes"), ("r", "b")], name="task.t")
    limits = data_limits(SimpleNamespace(sets={"safety": safety, "task.t": task}), "t")
    assert limits.conflicting == 0


def test_entropy_of_repeated_prompts():
    safety = Dataset.of([("p", "a"), ("p", "b"), ("q", "c"), ("q", "c")], name="safety")
    task = Dataset.of([("x", "y"), ("z", "w")], name="task.t")
    limits = data_limits(SimpleNamespace(sets={"safety": safety, "task.t": task}), "t")
    assert limits.entropies[0] == pytest.approx(0.5 * np.log(2.0))
