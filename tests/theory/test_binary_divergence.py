"""The divergence of two coins and its inverse, against closed forms (T21)."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from theory.binary_divergence import (
    binary_kl,
    binary_kls,
    kl_lower_inverse,
    kl_lower_inverses,
    pinsker_lower,
    teacher_lower,
)

shares = st.floats(0.0, 1.0)


@given(q=shares, delta=st.floats(0.0, 20.0))
def test_the_inverse_is_within_the_budget_and_no_smaller_share_is(q: float, delta: float) -> None:
    p = kl_lower_inverse(q, delta)
    assert 0.0 <= p <= q
    # On the safe side: it may be below the true inverse by a rounding, never above.
    assert p == 0.0 or binary_kl(q, min(q, p * (1 + 1e-9) + 1e-15)) <= delta + 1e-9
    if p > 1e-12:
        assert binary_kl(q, 0.999 * p) > delta * (1 - 1e-6)


def test_closed_forms() -> None:
    # q = 1: kl(1 || p) = -log p.
    assert kl_lower_inverse(1.0, 0.5) == pytest.approx(math.exp(-0.5), rel=1e-12)
    assert kl_lower_inverse(0.7, 0.0) == pytest.approx(0.7, abs=1e-8)
    assert kl_lower_inverse(0.0, 1.0) == 0.0
    assert binary_kl(0.5, 0.25) == pytest.approx(0.5 * math.log(4 / 3))
    assert binary_kl(0.5, 0.0) == math.inf


@given(q=shares, p=shares)
def test_pinsker(q: float, p: float) -> None:
    assert binary_kl(q, p) >= 2 * (q - p) ** 2 - 1e-12


def test_two_answers_and_one_probe_are_an_equality() -> None:
    # The model's own answers: a refusal with q, help with 1 - q. Delta is the KL itself.
    q, after = 0.9, 0.6
    delta = q * math.log(q / after) + (1 - q) * math.log((1 - q) / (1 - after))
    assert kl_lower_inverse(q, delta) == pytest.approx(after, rel=1e-9)


@pytest.mark.parametrize("delta", [-0.1, math.nan])
def test_a_negative_divergence_is_rejected(delta: float) -> None:
    with pytest.raises(ValueError, match="divergence"):
        kl_lower_inverse(0.9, delta)


@given(q=shares, delta=st.floats(0.0, 20.0))
def test_pinskers_bound_is_below_the_exact_one(q: float, delta: float) -> None:
    assert 0.0 <= pinsker_lower(q, delta) <= kl_lower_inverse(q, delta) + 1e-7


def test_a_teachers_answers_say_what_their_loss_leaves() -> None:
    assert teacher_lower(0.0) == 1.0
    assert teacher_lower(math.log(2)) == pytest.approx(0.5)
    assert teacher_lower(math.inf) == 0.0
    for loss in (-0.1, math.nan):
        with pytest.raises(ValueError, match="loss"):
            teacher_lower(loss)
    with pytest.raises(ValueError, match="share"):
        pinsker_lower(1.1, 0.1)


def test_many_at_once_are_each_alone_and_tiny_divergences_are_exact() -> None:
    q, delta = np.meshgrid([0.0, 1e-9, 0.3, 0.95, 1.0], [0.0, 1e-12, 1e-3, 0.7, 30.0])
    together = kl_lower_inverses(q, delta)
    alone = [kl_lower_inverse(float(a), float(d)) for a, d in zip(q.flat, delta.flat, strict=True)]
    np.testing.assert_allclose(together.ravel(), alone, rtol=1e-12)
    np.testing.assert_allclose(
        binary_kls(q, together).ravel(),
        [binary_kl(a, p) for a, p in zip(q.flat, alone, strict=True)],
        rtol=1e-6,
    )
    # kl(q || q - t) = t^2 / (2 q (1 - q)) for small t.
    assert binary_kl(0.3, 0.3 - 1e-7) == pytest.approx(1e-14 / 0.42, rel=1e-5)
    assert 0.3 - kl_lower_inverse(0.3, 1e-14) == pytest.approx(np.sqrt(0.42e-14), rel=1e-5)
    with pytest.raises(ValueError, match="divergence"):
        kl_lower_inverses([0.5], [np.nan])
    with pytest.raises(ValueError, match="share"):
        kl_lower_inverses([1.5], [0.1])
