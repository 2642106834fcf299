"""Findings of theory in trained toy models, each with a stated error probability.

Every interval misses the mean effect over all random instances with probability at most 1e-6. So a
test that a finding is not refuted fails with at most that probability if its statement is true,
and a negative control, of which the statement is false, is confirmed with at most that. Seeds are
fixed, so that a run that passes passes again.
"""

from __future__ import annotations

import numpy as np
import pytest

from sims.findings.features import LABS, feature_overlap, features_not_prompts, shared_weights
from sims.findings.finding import LEVEL, columns, of_mean, of_share, slopes
from sims.findings.loss_constraint import TABLE
from sims.findings.registry import FINDINGS
from theory.bound import Direction
from theory.loss_constraint import safety_gap_expansion
from theory.parameter_constraint import crossover_radius, safety_within_radius
from theory.strategy import ParameterConstraint


@pytest.mark.parametrize("name", FINDINGS)
def test_a_finding_is_confirmed_at_its_level(name: str) -> None:
    finding = FINDINGS[name].claimed(seed=0)
    assert not finding.refuted, str(finding)
    assert finding.confirmed, str(finding)
    assert finding.level == LEVEL == 1.0 - 1e-6


@pytest.mark.parametrize("name", FINDINGS)
def test_its_negative_control_is_not_confirmed(name: str) -> None:
    control = FINDINGS[name].negative(seed=0)
    assert not control.confirmed, str(control)
    assert control.refuted, str(control)


@pytest.mark.slow
def test_a_transformer_loses_safety_through_weights_and_not_through_shared_words() -> None:
    # Words in common cost it nothing that 32 instances show: what interferes is shared weights.
    assert shared_weights(0, family="transformer", n=16).confirmed
    assert not feature_overlap(0, family="transformer", n=32).confirmed
    assert features_not_prompts(0, family="transformer", n=32, disagreement=0.7).refuted


def test_the_crossover_radius_is_where_the_guarantee_of_case_two_meets_the_floor() -> None:
    made = TABLE.ensemble(3, 16, overlap=0.6, disagreement=0.7, teacher_mismatch=0.3)
    problem = made.tables()
    floor = safety_gap_expansion(problem)[0]
    radius = crossover_radius(problem)

    def guarantee(scale: float) -> np.ndarray:
        bounds = safety_within_radius(problem, ParameterConstraint(scale * radius))
        return next(b.value for b in bounds if b.form == "(A-J)" and b.direction == Direction.UPPER)

    np.testing.assert_allclose(guarantee(1.0), floor, rtol=1e-9)
    assert (guarantee(0.99) < floor).all()
    assert (guarantee(1.01) > floor).all()


def test_rows_beyond_a_chunk_are_trained_like_all_others() -> None:
    made = TABLE.ensemble(5, 3, overlap=0.6)
    lams = np.geomspace(0.1, 10.0, 90)
    many, few = made.finetuned(lam=lams), made.finetuned(lam=lams[[0, 89]])
    assert many.gaps.task.shape == (3, 90)
    assert TABLE.chunk < 270
    np.testing.assert_allclose(many.gaps.task[:, [0, 89]], few.gaps.task, rtol=1e-9)


def test_an_ensemble_with_other_targets_is_trained_on_them() -> None:
    made = TABLE.ensemble(5, 3, overlap=0.6)
    swapped = made.replaced(mu_f=made.problem.pair.mu_s)
    assert (swapped.finetuned(lam=[0.0]).gaps.safety < 1e-6).all()
    assert (made.finetuned(lam=[0.0]).gaps.safety > 1e-2).all()


def test_instances_are_the_same_draws_at_other_knobs() -> None:
    keys = TABLE.ensemble(1, 4).keys
    one, other = (TABLE.ensemble_of(keys, overlap=overlap) for overlap in (0.2, 0.6))
    np.testing.assert_array_equal(one.problem.pair.mu_s, other.problem.pair.mu_s)
    assert not np.array_equal(one.problem.pair.rho_s, other.problem.pair.rho_s)


def test_intervals_of_means_cover_at_their_level() -> None:
    rng = np.random.default_rng(0)
    level, trials = 0.9, 2000
    sets = rng.normal(3.0, 2.0, size=(trials, 8))
    found = [of_mean("x", "", effects, (3.0, 3.0), level=level) for effects in sets]
    missed = sum(finding.refuted for finding in found)
    # 200 are expected; a binomial count is outside 130 to 280 with probability below 1e-6.
    assert 130 < missed < 280


def test_a_finding_is_confirmed_refuted_or_undecided() -> None:
    effects = np.array([0.9, 1.0, 1.1, 1.0])
    assert of_mean("x", "", effects, (0.0, 2.0), level=0.95).confirmed
    assert of_mean("x", "", effects, (2.0, 3.0), level=0.95).refuted
    between = of_mean("x", "", effects, (1.0, 2.0), level=0.95)
    assert not between.confirmed
    assert not between.refuted
    assert "undecided" in str(between)


def test_a_share_needs_many_instances_at_this_level() -> None:
    assert not of_share("x", "", np.ones(20, bool), (0.9, 1.0)).confirmed
    assert of_share("x", "", np.ones(200, bool), (0.9, 1.0)).confirmed
    assert of_share("x", "", np.zeros(200, bool), (0.9, 1.0)).refuted


def test_slopes_are_exponents() -> None:
    x = np.array([1.0, 2.0, 5.0])
    np.testing.assert_allclose(slopes(x, np.stack([3.0 * x**2, x**-1.0])), [2.0, -1.0])
    with pytest.raises(ValueError, match="positive"):
        slopes(x, np.zeros((1, 3)))


def test_columns_are_means_and_intervals_of_each_column() -> None:
    found = columns(np.array([[1.0, 5.0], [3.0, 5.0]]))
    assert found["mean"] == [2.0, 5.0]
    assert found["low"][0] < 2.0 < found["high"][0]
    assert found["low"][1] == found["high"][1] == 5.0


@pytest.mark.parametrize("effects", [[1.0], [1.0, np.nan]])
def test_an_interval_of_too_little_is_refused(effects: list[float]) -> None:
    with pytest.raises(ValueError, match="2 finite effects"):
        of_mean("x", "", effects, (0.0, 1.0))


def test_every_class_of_the_features_study_has_a_lab() -> None:
    assert [lab.model.name for lab in LABS.values()] == list(LABS)
