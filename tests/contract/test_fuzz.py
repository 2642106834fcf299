"""Damaged configurations, folders and checkpoints end with a result or a word (a small size)."""

from __future__ import annotations

import pytest

from benchmarks.fuzz import Bench, fuzz


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory):
    return Bench(tmp_path_factory.mktemp("fuzz"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "count"), [("configurations", 60), ("folders", 12), ("checkpoints", 3)]
)
def test_every_end_is_a_result_or_a_word(fuzzed, what, count):
    ends = [fuzz(fuzzed, what, seed) for seed in range(count)]
    assert [wrong for _, wrong in ends if wrong is not None] == []
    assert {code for codes, _ in ends for code in codes} <= {0, 1, 2}
