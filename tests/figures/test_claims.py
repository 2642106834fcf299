"""Captions come from the data: claims agree with a count made here, and fail on spoilt data."""

from __future__ import annotations

import copy
import math

import pytest

from paper_figures import pareto_front, proxy_floor
from paper_figures.records import read_record


@pytest.fixture
def front():
    return copy.deepcopy(read_record("pareto_front")["data"])


@pytest.fixture
def floor():
    return copy.deepcopy(read_record("proxy_floor")["data"])


def claim(module, data, statement):
    return {c.statement: c for c in module.claims(data)}[statement]


def columns(table):
    return table["safety_gap"], table["capability_gap"]


def nearest(data):
    """The least of (G_f + lambda G_s) over its minimum, by loops."""
    least = math.inf
    for item in data["instances"]:
        front = list(zip(data["lams"], *columns(item["front"]), strict=True))
        for safety, capability in zip(*columns(item["policies"]), strict=True):
            ratios = ((capability + lam * safety) / (c + lam * s) for lam, s, c in front)
            least = min(least, *ratios)
    return least


def test_pareto_front_reports_the_nearest_policy(front):
    found = claim(pareto_front, front, "T10(a)")
    tried = front["policies_each"] * len(front["instances"])
    assert found.holds
    assert f"none of {tried:,} random policies" in found.evidence
    assert f"{nearest(front):.5f}" in found.evidence
    assert 1.0 < nearest(front) < 1.01, "policies that never come near would test nothing"


def test_pareto_front_sees_a_policy_below(front):
    policies = front["instances"][3]["policies"]
    policies["safety_gap"][7] *= 0.01
    policies["capability_gap"][7] *= 0.01
    found = claim(pareto_front, front, "T10(a)")
    assert not found.holds
    assert "DOES NOT HOLD" in str(found)


def test_pareto_front_sees_a_front_that_is_too_high(front):
    for item in front["instances"]:
        item["front"]["capability_gap"] = [1.02 * g for g in item["front"]["capability_gap"]]
    assert not claim(pareto_front, front, "T10(a)").holds


def test_pareto_front_sees_a_wrong_slope(front):
    item = front["instances"][0]["front"]
    item["capability_gap"] = [1.5 * gap for gap in item["capability_gap"]]
    assert not claim(pareto_front, front, "T10(a), convexity with slope -lambda,").holds


def test_pareto_front_sees_an_overlap_limit_that_is_too_large(front):
    assert claim(pareto_front, front, "T10(b)").holds
    for item in front["instances"]:
        item["sqrt_limit"] *= 1.2
    assert not claim(pareto_front, front, "T10(b)").holds


def test_pareto_front_limit_is_the_overlap_times_the_disagreement(front):
    for item in front["instances"]:
        expected = math.sqrt(2.0 * item["overlap"]) * item["disagreement"]
        assert item["sqrt_limit"] == pytest.approx(expected, rel=1e-12)


def test_pareto_front_of_disjoint_teachers_has_a_closed_form(front):
    """At tau = 1 every shared context pays log(1 + 1/lambda) and log(1 + lambda)."""
    for item in front["instances"]:
        if item["disagreement"] == 1.0:
            for lam, safety, capability in zip(front["lams"], *columns(item["front"]), strict=True):
                assert safety == pytest.approx(item["overlap"] * math.log1p(1 / lam), rel=1e-12)
                assert capability == pytest.approx(item["overlap"] * math.log1p(lam), rel=1e-12)


def test_pareto_front_sees_a_cost_not_proportional_to_the_overlap(front):
    statement = "T3, cost proportional to the overlap mass at fixed teachers,"
    assert claim(pareto_front, front, statement).holds
    item = front["instances"][1]["front"]
    item["safety_gap"] = [1.001 * gap for gap in item["safety_gap"]]
    assert not claim(pareto_front, front, statement).holds


def test_proxy_floor_sees_a_gap_above_its_bound(floor):
    assert claim(proxy_floor, floor, "T5, upper bound,").holds
    floor["proxies"][0]["safety_gap"][40] = 1.01 * floor["proxies"][0]["upper"][40]
    assert not claim(proxy_floor, floor, "T5, upper bound,").holds


def test_proxy_floor_sees_a_wrong_rate(floor):
    statement = "T5, first term of the excess over the floor,"
    assert claim(proxy_floor, floor, statement).holds
    floor["proxies"][2]["first_order"] *= 1.1
    assert not claim(proxy_floor, floor, statement).holds


def test_proxy_floor_compares_the_self_generated_floor_with_the_aligned_model(floor):
    statement = "T5, floor of a self-generated proxy,"
    assert claim(proxy_floor, floor, statement).holds
    floor["proxies"][1]["aligned_safety_gap"] *= 1.01
    assert not claim(proxy_floor, floor, statement).holds


def test_proxy_floor_counts_where_the_same_teacher_is_lowest(floor):
    statement = "The reported finding that the same teacher's proxy has the least safety gap"
    number = len(floor["lams"])
    assert f"at {number} of {number} lambdas" in claim(proxy_floor, floor, statement).evidence
    floor["proxies"][0]["safety_gap"][0] = 9.0
    found = claim(proxy_floor, floor, statement)
    assert not found.holds
    assert f"at {number - 1} of {number} lambdas" in found.evidence


def test_proxy_floor_sees_a_floor_that_is_not_undercut(floor):
    statement = "T5, over-penalising hurts when the first-order term is negative,"
    assert claim(proxy_floor, floor, statement).holds
    hurt = floor["overpenalised"]
    hurt["safety_gap"] = [max(gap, hurt["floor"]) for gap in hurt["safety_gap"]]
    assert not claim(proxy_floor, floor, statement).holds


def test_proxy_floor_of_one_context_by_hand(floor):
    """The over-cautious instance: floor KL(mu_s | mu_hat), first term 1 - E_f[mu_s / mu_hat]."""
    safety, task, proxy = (0.6, 0.3, 0.1), (0.8, 0.1, 0.1), (0.2, 0.5, 0.3)
    hurt = floor["overpenalised"]
    kl = sum(s * math.log(s / p) for s, p in zip(safety, proxy, strict=True))
    first = 1.0 - sum(f * s / p for f, s, p in zip(task, safety, proxy, strict=True))
    assert hurt["floor"] == pytest.approx(kl, rel=1e-12)
    assert hurt["first_order"] == pytest.approx(first, rel=1e-12)
