"""E-DIEM's formula, and the released code's score."""

import math

import numpy as np
import pytest

from llm_validation.defences.geometry.diem import ElementQuartiles, e_diem, released_e_diem

QUARTILES = ElementQuartiles(q1_projected=-0.02, q3_projected=0.03, q1_update=-0.05)


def test_e_diem_is_z_less_v_min():
    null = [1.0, 2.0, 3.0, 4.0, 10.0]
    z = (7.0 - 4.0) / 2.0  # mean 4, quartiles 2 and 4
    assert e_diem(7.0, null, QUARTILES) == pytest.approx(z - 0.03)
    formula = (z - QUARTILES.v_min) / (QUARTILES.v_max - QUARTILES.v_min)
    assert e_diem(7.0, null, QUARTILES) == pytest.approx(
        formula * (QUARTILES.v_max - QUARTILES.v_min)
    )


def test_a_null_sample_without_spread_does_not_make_rounding_a_score():
    null = np.full(50, 3.0)
    assert abs(e_diem(3.0 + 1e-8, null, QUARTILES) + QUARTILES.v_min) < 0.01


def test_a_null_sample_of_one_is_none():
    with pytest.raises(ValueError, match="at least two"):
        e_diem(1.0, [1.0], QUARTILES)


def test_the_released_score_is_rounding():
    """Fifty copies of one distance: what is left is the error of their float32 mean, over 1e-6."""
    distances = np.random.default_rng(0).uniform(1, 100, 64).astype(np.float32)
    scores = [released_e_diem(float(d), QUARTILES) for d in distances]
    from scipy.stats import spearmanr

    assert abs(spearmanr(distances, scores).statistic) < 0.5
    units = [
        (s + QUARTILES.v_min) * 1e-6 / float(np.spacing(d))
        for s, d in zip(scores, distances, strict=True)
    ]
    assert max(map(abs, units)) < 20
    assert math.isnan(released_e_diem(1.0, ElementQuartiles(0.0, 0.0, 0.0)))
