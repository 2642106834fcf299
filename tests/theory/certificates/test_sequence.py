"""Several candidates at once: the order decides, and nothing behind a failure is accepted (T24)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from theory.certificates.sequence import fixed_sequence, holm, split_sequences

p_values = st.lists(st.floats(0.0, 1.0), max_size=8)
levels = st.floats(0.01, 0.5)


def test_nothing_behind_the_first_failure_is_accepted() -> None:
    assert fixed_sequence([0.01, 0.05, 0.06, 0.001], 0.05) == [True, True, False, False]
    assert fixed_sequence([0.9, 0.0, 0.0], 0.05) == [False, False, False]
    assert fixed_sequence([], 0.05) == []


def test_holm_is_its_published_example() -> None:
    # Holm's steps at 0.05: 0.005 <= 0.05/4, 0.01 <= 0.05/3, 0.03 > 0.05/2.
    assert holm([0.01, 0.04, 0.03, 0.005], 0.05) == [True, False, False, True]
    assert holm([], 0.05) == []


@given(p_values, levels)
def test_holm_accepts_what_bonferroni_does_and_nothing_above_the_level(p, level) -> None:
    accepted = holm(p, level)
    for one, taken in zip(p, accepted, strict=True):
        assert taken or one > level / len(p)
        assert not taken or one <= level


@given(st.lists(p_values, min_size=1, max_size=4), levels)
def test_sequences_share_the_level(sequences, level) -> None:
    for p, accepted in zip(sequences, split_sequences(sequences, level), strict=True):
        assert accepted == fixed_sequence(p, level / len(sequences))
    assert split_sequences(sequences[:1], level) == [fixed_sequence(sequences[0], level)]


@pytest.mark.parametrize("procedure", [fixed_sequence, holm])
@pytest.mark.parametrize(
    ("p", "level", "message"),
    [
        ([0.1, np.nan], 0.05, "p-value"),
        ([1.1], 0.05, "p-value"),
        ([[0.1]], 0.05, "shape"),
        ([0.1], 0.0, "probability"),
    ],
)
def test_what_is_no_p_value_is_rejected(procedure, p, level, message) -> None:
    with pytest.raises(ValueError, match=message):
        procedure(p, level)
