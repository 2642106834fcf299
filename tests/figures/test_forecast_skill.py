"""How forecasts did by method and budget: claims agree with counts made here, fail on bad data."""

import copy

import pytest

from paper_figures import forecast_by_method, verdict_reliability
from paper_figures.records import read_record


@pytest.fixture
def methods():
    return copy.deepcopy(read_record("forecast_by_method")["data"])


@pytest.fixture
def budgets():
    return copy.deepcopy(read_record("verdict_reliability")["data"])


def test_every_fine_tune_is_counted_once(methods, budgets):
    of_refusals = [one for one in methods["methods"] if one["quantity"] == "refusals"]
    assert sum(one["fine_tunes"] for one in of_refusals) == methods["fine_tunes"]
    for one in budgets["verdicts"]:
        assert sum(one[name] for name in verdict_reliability._PARTS) == budgets["fine_tunes"]


def test_a_method_whose_intervals_fail_is_told(methods):
    assert forecast_by_method.claims(methods)[0].holds
    methods["methods"][0]["covered"] = {"estimate": 0.2, "lower": 0.1, "upper": 0.5}
    found = forecast_by_method.claims(methods)[0]
    assert not found.holds
    assert "the fewest are 20%" in found.evidence


def test_wide_intervals_are_told(methods):
    for one in methods["methods"]:
        one["relative_width"] = 0.3
    assert forecast_by_method.claims(methods)[1].holds
    methods["methods"][0]["relative_width"] = 0.5
    assert "the widest is 50%" in forecast_by_method.claims(methods)[1].evidence


def test_wrong_verdicts_are_told(budgets):
    first = budgets["verdicts"][0]
    first |= dict.fromkeys(verdict_reliability._PARTS, 0)
    first |= {"kept_right": 5, "kept_wrong": 1, "undecided_kept": budgets["fine_tunes"] - 6}
    right, decided = verdict_reliability.claims(budgets)
    assert not right.holds
    assert right.evidence.startswith("1 of ")
    assert decided.holds == (min(6, *_decided(budgets)) >= 0.5 * budgets["fine_tunes"])


def _decided(budgets):
    names = ("kept_right", "kept_wrong", "broken_right", "broken_wrong")
    return [sum(one[name] for name in names) for one in budgets["verdicts"]]
