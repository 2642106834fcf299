"""Hypervolume, distances and the sweep's path on points whose answers are known."""

import numpy as np
import pytest

from llm_validation.experiments.answers import Answer
from llm_validation.experiments.statistics import Pair
from llm_validation.measure.losses import Losses
from llm_validation.tradeoff.coherence import coherence
from llm_validation.tradeoff.plane import (
    Place,
    along_path,
    coordinates,
    excess,
    hypervolume,
    locate,
    scores,
)

ROWS = 60


def losses(values) -> Losses:
    values = np.asarray(values, dtype=np.float64)
    return Losses(4.0 * values, np.full(len(values), 4))


def pair(change: float, *, noise: float = 0.0, seed: int = 0) -> Pair:
    start = 2.0 + np.random.default_rng(99).normal(0.0, 0.3, ROWS)
    own = np.random.default_rng(seed).normal(0.0, 1.0, ROWS)
    return Pair(losses(start), losses(start + change + noise * own))


def at(name, family, gain, rise, *, counts=True, noise=0.0, seeds=(0,)) -> Place:
    number = sum(map(ord, name))
    return Place(
        name,
        family,
        safety={s: pair(rise + 0.1 * s, noise=noise, seed=number + s) for s in seeds},
        task={s: pair(-gain, noise=noise, seed=number + s + 50) for s in seeds},
        counts=counts,
    )


def plane_of(*places):
    return locate(places, rng=np.random.default_rng(0), draws=300)


def test_the_hypervolume_is_the_dominated_area():
    rng = np.random.default_rng(1)
    gain, rise = rng.uniform(-0.2, 1.0, 7), rng.uniform(-0.5, 1.0, 7)
    worst = 0.8
    x, y = np.meshgrid((np.arange(1000) + 0.5) / 1000, -0.5 + 1.3 * (np.arange(1000) + 0.5) / 1000)
    covered = np.zeros_like(x, dtype=bool)
    for g, r in zip(gain, rise, strict=True):
        covered |= (x <= g) & (y >= r)
    assert hypervolume(gain, rise, worst=worst) == pytest.approx(1.3 * covered.mean(), abs=3e-3)


def test_the_hypervolume_of_nothing_is_nothing_and_a_dominated_point_adds_none():
    assert hypervolume(np.zeros((3, 0)), np.zeros((3, 0)), worst=1.0).tolist() == [0.0, 0.0, 0.0]
    one = hypervolume(np.array([0.5]), np.array([0.25]), worst=1.0)
    assert one == pytest.approx(0.375)
    more = hypervolume(np.array([0.5, 0.4, -3.0, 2.0]), np.array([0.25, 0.3, -9.0, 1.5]), worst=1.0)
    assert more == pytest.approx(0.375)


def test_the_excess_is_over_the_safest_with_at_least_the_gain():
    gain, rise = np.array([0.2, 0.6, 1.0]), np.array([0.1, 0.2, 0.9])
    assert excess(np.array(0.5), np.array(0.5), gain, rise) == pytest.approx(0.3)
    assert excess(np.array(0.6), np.array(0.2), gain, rise) == 0.0
    # The aligned model is there for nothing.
    assert excess(np.array(-0.1), np.array(0.05), gain, rise) == pytest.approx(0.05)


def test_the_path_joins_what_no_other_point_of_the_sweep_dominates():
    gain, rise = np.array([1.0, 0.5, 0.4]), np.array([0.8, 0.2, 0.7])
    assert along_path(0.25, gain, rise) == pytest.approx(0.1)
    assert along_path(0.75, gain, rise) == pytest.approx(0.5)
    assert along_path(0.0, gain, rise) == 0.0
    assert np.isnan(along_path(1.1, gain, rise))
    assert np.isnan(along_path(0.1, np.zeros(0), np.zeros(0)))
    # A sweep that made the model safer gives less gain at that safety too.
    assert along_path(0.1, np.array([0.5]), np.array([-0.2])) == pytest.approx(-0.2)


def test_a_better_family_scores_higher_and_the_differences_are_paired():
    common = {"noise": 0.4}
    sweep = at("a", "undefended", 0.6, 0.5, **common)
    better = Place(
        "b",
        "defended",
        safety={
            0: Pair(
                sweep.safety[0].start,
                losses(sweep.safety[0].end.token_sum / 4.0 - 0.2),
            )
        },
        task=sweep.task,
        counts=True,
    )
    plane = plane_of(sweep, better)
    defended, undefended = scores(plane, baseline="undefended")
    assert (defended.family, undefended.family) == ("defended", "undefended")
    difference = defended.less_baseline
    # 0.2 of rise at every draw, times the gain: no noise but the gain's is left.
    assert difference.estimate == pytest.approx(0.2 * plane.gain[0], rel=1e-9)
    own = defended.hypervolume
    assert difference.lower > 0.0
    assert difference.upper - difference.lower < 0.8 * (own.upper - own.lower)
    assert defended.distance.estimate == pytest.approx(0.0, abs=1e-12)
    assert undefended.distance.estimate == pytest.approx(0.2, rel=1e-9)
    first, second = coordinates(plane, baseline="undefended")
    assert second["against_baseline"].estimate == pytest.approx(-0.2, rel=1e-9)
    assert first["excess"] == pytest.approx(0.2, rel=1e-9)
    assert (first["on_frontier"], second["on_frontier"]) == (0.0, 1.0)
    width = first["rise"].upper - first["rise"].lower
    assert width == pytest.approx(2 * 1.96 * 0.4 / ROWS**0.5, rel=0.2)


def test_what_failed_its_gate_is_in_no_score():
    good, bad = at("a", "undefended", 0.5, 0.3), at("b", "gibberish", 0.9, -5.0, counts=False)
    plane = plane_of(good, bad)
    undefended, gibberish = scores(plane, baseline="undefended")
    assert gibberish.to_dict() == {
        "family": "gibberish", "strengths": 0, "hypervolume": None,
        "more_strengths_than_baseline": False, "one_strength": False,
    }  # fmt: skip
    (alone,) = scores(plane_of(good), baseline="undefended")
    assert undefended.hypervolume == alone.hypervolume
    place = coordinates(plane, baseline="undefended")[1]
    assert place["excess"] is place["on_frontier"] is place["against_baseline"] is None
    assert plane.largest_rise == pytest.approx(0.3)


def test_without_any_counted_place_there_is_no_score():
    (found,) = scores(plane_of(at("a", "x", 0.5, 0.3, counts=False)), baseline="undefended")
    assert found.hypervolume is None


def test_several_seeds_are_averaged_and_widen_the_interval():
    one, two = at("a", "x", 0.5, 0.3, seeds=(0,)), at("a", "x", 0.5, 0.3, seeds=(0, 1))
    plane = plane_of(one, two)
    assert plane.rise == pytest.approx([0.3, 0.35])
    first, second = coordinates(plane, baseline="x")
    assert first["rise"].upper - first["rise"].lower == pytest.approx(0.0, abs=1e-9)
    assert second["rise"].lower == pytest.approx(0.3)
    assert second["rise"].upper == pytest.approx(0.4)


def test_places_on_other_rows_are_refused():
    short = Pair(losses(np.ones(3)), losses(np.ones(3)))
    with pytest.raises(ValueError, match="differ in number"):
        plane_of(at("a", "x", 0.1, 0.1), Place("b", "x", {0: short}, {0: short}, True))


def answers(*labels: str) -> list[Answer]:
    return [Answer("?", None, "text", label) for label in labels]


class TestCoherence:
    sets = {"safety rows": pair(0.1), "task rows": pair(-0.1)}  # noqa: RUF012

    def test_a_loss_near_that_of_a_uniform_guess_fails_whatever_is_answered(self):
        lost = {"task rows": pair(3.0)}
        gate = coherence(lost, answers(*["refusal"] * 10), vocabulary=1000)
        assert not gate.passed
        assert "uniform" in gate.because
        # For a larger vocabulary the same loss is still a language.
        assert coherence(lost, answers(*["refusal"] * 10), vocabulary=50_000).passed

    def test_a_loss_that_is_no_number_fails(self):
        assert not coherence({"task rows": pair(np.nan)}, None, vocabulary=1000).passed

    @pytest.mark.parametrize("label", ["echo", "degenerate", "error"])
    def test_more_than_a_tenth_of_answers_without_sense_fail(self, label):
        nine, eight = ["compliance"] * 9 + [label], ["refusal"] * 8 + [label] * 2
        assert coherence(self.sets, answers(*nine), vocabulary=1000).passed
        assert not coherence(self.sets, answers(*eight), vocabulary=1000).passed

    def test_the_aligned_model_s_own_share_is_allowed_for_up_to_a_half(self):
        eight = answers(*["refusal"] * 8, "echo", "echo")
        own = answers(*["refusal"] * 9, "echo")
        assert coherence(self.sets, eight, vocabulary=1000, own=own).passed
        most = answers(*["refusal"] * 4, *["degenerate"] * 6)
        worse = answers(*["degenerate"] * 10)
        assert not coherence(self.sets, most, vocabulary=1000, own=worse).passed

    def test_without_answers_the_losses_decide_and_it_says_so(self):
        gate = coherence(self.sets, None, vocabulary=1000)
        assert gate.passed
        assert "losses alone" in gate.because
