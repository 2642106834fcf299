"""Every constant has a unit and a range; what contradicts them is refused by name."""

import math

import pytest

from theory.constants import CONSTANTS, Constant, Constants


@pytest.mark.parametrize("name", CONSTANTS)
def test_another_unit_is_refused_and_never_echoed_raw(name):
    wrong = "\x1b[31mbits\x1b[0m<script>" + "x" * 200
    with pytest.raises(ValueError, match=rf"^{name}: its unit is ") as caught:
        Constants({name: Constant(1.0, unit=wrong)})
    assert "\x1b" not in str(caught.value)
    assert "x" * 50 not in str(caught.value)
    assert Constants({name: Constant(1.0, unit=CONSTANTS[name].unit)})[name].unit == (
        CONSTANTS[name].unit
    )


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("coverage_ratio", 1e-9, "at least 1"),
        ("coverage_ratio", 0.999, "at least 1"),
        ("vocabulary", 2.5, "whole number"),
        ("vocabulary", 0, "whole number"),
        ("vocabulary", math.inf, "whole number"),
        ("tv", 1.5, "at most 1"),
        ("tv_context", 2, "at most 1"),
        ("tv_teacher", -0.1, "cannot be negative"),
        ("overlap_task_mass", 1.01, "at most 1"),
        ("disagreement_weighted_overlap", 3, "at most 1"),
        ("capability_gap_at_aligned", -1, "cannot be negative"),
        ("smoothness_task", -1e-3, "cannot be negative"),
        ("kl", math.nan, "NaN"),
        ("kl", True, "not a number"),
        ("kl", "0.1", "not a number"),
    ],
)
def test_a_value_outside_its_range_is_refused(name, value, says):
    with pytest.raises(ValueError, match=says) as caught:
        Constants({name: value})
    assert name in str(caught.value)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"capability_gap_at_aligned": 5, "loss_range": 3}, "cannot exceed loss_range"),
        ({"safety_gap_at_aligned": math.inf, "loss_range": 3}, "cannot exceed loss_range"),
        ({"loss_oscillation": 7, "loss_range": 3}, "cannot exceed 2 loss_range"),
        ({"pl_task": 2, "smoothness_task": 1}, "cannot exceed smoothness_task"),
        ({"quadratic_growth_safety": 2, "smoothness_safety": 1}, "cannot exceed"),
    ],
)
def test_numbers_that_contradict_each_other_are_refused(values, says):
    with pytest.raises(ValueError, match=says):
        Constants(values)
    # Estimates may cross by their own error.
    Constants({name: Constant(value, "estimated") for name, value in values.items()})


def test_rounding_at_the_end_of_a_range_is_moved_into_it():
    assert Constants({"overlap_task_mass": 1.0 + 2e-16})["overlap_task_mass"].value == 1.0
    assert Constants({"coverage_ratio": 1.0 - 2e-16})["coverage_ratio"].value == 1.0
    assert Constants({"task_loss_floor": -3.0})["task_loss_floor"].value == -3.0


@pytest.mark.parametrize("p", [-0.1, 1.0, 2.0, math.nan])
def test_a_failure_probability_is_one(p):
    with pytest.raises(ValueError, match="failure probability"):
        Constant(0.1, "high_probability", p)


def test_how_a_constant_is_known_is_one_of_three():
    with pytest.raises(ValueError, match="given, estimated, high_probability"):
        Constant(0.1, "\x1b[31mguessed")
