"""Mixing regimes: exact counts, the same every time, and nested so that only the share differs."""

from __future__ import annotations

from itertools import pairwise

import pytest

from finebound.base.errors import InputError
from llm_validation.data.builtin import builtin_dataset
from llm_validation.data.builtin.regimes import SHARES, mix
from llm_validation.data.dataset import Dataset, Example

BENIGN = Dataset.of([(f"Task {n}?", f"Answer {n}.") for n in range(120)], name="benign")
HARMFUL = Dataset.of(
    [Example.single_turn(f"Harm {n}?", "Sure.", category="x") for n in range(110)], name="harmful"
)


def harmful_rows(mixed):
    return [example for example in mixed.examples if example.category == "x"]


@pytest.mark.parametrize(
    ("share", "rows", "expected"),
    [
        (0.0, 100, 0),
        (0.01, 100, 1),
        (0.05, 100, 5),
        (0.10, 100, 10),
        (0.30, 100, 30),
        (1.0, 100, 100),
        (0.05, 90, 5),  # 4.5
        (0.35, 10, 4),  # 3.5, though the float 0.35 is a little less
        (0.01, 51, 1),
    ],
)
def test_counts_are_exact(share, rows, expected):
    mixed = mix(BENIGN, HARMFUL, share, rows=rows, seed=0)
    assert len(mixed) == rows
    assert len(harmful_rows(mixed)) == expected
    assert len(set(mixed.prompts)) == rows
    assert set(mixed.examples) <= set(BENIGN.examples) | set(HARMFUL.examples)


def test_the_published_shares():
    assert SHARES == (0.0, 0.01, 0.05, 0.10, 0.30, 1.0)


def test_same_seed_same_rows_and_another_seed_others():
    one = mix(BENIGN, HARMFUL, 0.1, rows=60, seed=1)
    assert mix(BENIGN, HARMFUL, 0.1, rows=60, seed=1).sha256 == one.sha256
    other = mix(BENIGN, HARMFUL, 0.1, rows=60, seed=2)
    assert set(other.examples) != set(one.examples)


def test_rows_are_pinned_on_every_machine():
    mixed = mix(BENIGN, HARMFUL, 0.1, rows=20, seed=3)
    assert mixed.prompts[:4] == ["Task 54?", "Task 10?", "Task 86?", "Task 42?"]


def test_a_larger_share_only_exchanges_rows():
    """Harmful rows are added to those there, benign rows taken from those there."""
    regimes = [mix(BENIGN, HARMFUL, share, rows=100, seed=4) for share in SHARES]
    for smaller, larger in pairwise(regimes):
        assert set(harmful_rows(smaller)) <= set(harmful_rows(larger))
        benign = set(larger.examples) - set(harmful_rows(larger))
        assert benign <= set(smaller.examples)


def test_harmful_rows_are_spread_over_the_set():
    mixed = mix(BENIGN, HARMFUL, 0.3, rows=100, seed=5)
    places = [n for n, example in enumerate(mixed.examples) if example.category == "x"]
    assert 35 < sum(places) / len(places) < 65


def test_held_out_prompts_are_in_no_regime():
    held_out = [f"  HARM {n}? " for n in range(80)] + ["Task 0?", "task  1?"]
    mixed = mix(BENIGN, HARMFUL, 0.3, rows=100, seed=6, apart_from=held_out)
    assert not {" ".join(p.split()).lower() for p in held_out} & {p.lower() for p in mixed.prompts}
    assert len(harmful_rows(mixed)) == 30


def test_no_benign_row_has_a_harmful_prompt():
    benign = Dataset.of(
        [*((f"harm  {n}?", "No.") for n in range(50)), *BENIGN.examples], name="benign"
    )
    mixed = mix(benign, HARMFUL, 0.0, rows=120, seed=7)
    assert set(mixed.examples) == set(BENIGN.examples)


def test_the_name_says_the_share_and_the_source_the_counts():
    mixed = mix(BENIGN, HARMFUL, 0.1, rows=50, seed=8)
    assert mixed.name == "benign+harmful@0.1"
    assert mixed.source == "50 rows of memory, 5 of them of memory, seed 8"


def test_the_built_in_regimes():
    benign, harmful = builtin_dataset("task-dialogue"), builtin_dataset("harmful-placeholders")
    safety = builtin_dataset("safety")
    for share in SHARES:
        mixed = mix(benign, harmful, share, rows=400, seed=0, apart_from=safety.prompts)
        answers = sum("[Placeholder: " in response for response in mixed.responses)
        assert answers == round(400 * share)
        assert not set(mixed.prompts) & set(safety.prompts)


@pytest.mark.parametrize(("share", "rows"), [(-0.1, 10), (1.1, 10), (0.1, 0)])
def test_what_is_no_share_is_refused(share, rows):
    with pytest.raises(ValueError, match="a share of"):
        mix(BENIGN, HARMFUL, share, rows=rows, seed=0)


@pytest.mark.parametrize(("share", "rows"), [(0.01, 10), (0.99, 10)])
def test_a_share_that_rounds_to_a_pure_set_is_refused(share, rows):
    """It would be a benign or a harmful set under the name of a mixed one."""
    with pytest.raises(ValueError, match="leaves no row of one kind"):
        mix(BENIGN, HARMFUL, share, rows=rows, seed=0)


def test_too_few_rows_are_not_repeated():
    with pytest.raises(InputError, match="115 rows are needed, and there are 110"):
        mix(BENIGN, HARMFUL, 1.0, rows=115, seed=0)
    with pytest.raises(InputError, match="100 rows are needed, and there are 90 besides 20 whose"):
        mix(BENIGN, HARMFUL, 1.0, rows=100, seed=0, apart_from=HARMFUL.prompts[:20])
