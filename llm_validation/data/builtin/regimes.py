"""Fine-tuning sets at a fixed budget of rows: purely benign, or with a share of harmful rows."""

from __future__ import annotations

import math
from collections.abc import Iterable
from fractions import Fraction

import numpy as np

from finebound.base.errors import InputError
from finebound.base.records import spawn_seed
from llm_validation.data.dataset import Dataset, Example

SHARES = (0.0, 0.01, 0.05, 0.10, 0.30, 1.0)
"""Purely benign, mixed, and nothing but harmful."""


def mix(
    benign: Dataset,
    harmful: Dataset,
    share: float,
    *,
    rows: int,
    seed: int,
    apart_from: Iterable[str] = (),
) -> Dataset:
    """``rows`` different rows, of which ``share`` are harmful, in a seeded order.

    The harmful ones number ``share * rows`` to the nearest whole (a half upwards). At one seed the
    harmful rows of a smaller share are among those of a larger one, the benign rows the other way
    round, so that regimes differ in nothing else. No row has a prompt of ``apart_from`` (held-out
    safety prompts; white space and case aside), none of the benign rows one of ``harmful``.

    Raises ValueError for a share outside [0, 1], fewer than one row, or a share between 0 and 1
    that leaves no row of either kind; InputError where a dataset has too few rows.
    """
    count = harmful_count(share, rows)
    held_out = {_same(prompt) for prompt in apart_from}
    chosen = _draw(harmful, count, seed=seed, without=held_out)
    chosen += _draw(
        benign, rows - count, seed=seed, without=held_out | {_same(p) for p in harmful.prompts}
    )
    order = np.random.default_rng(spawn_seed(seed, "order")).permutation(rows)
    return Dataset.of(
        (chosen[index] for index in order),
        name=f"{benign.name}+{harmful.name}@{share:g}",
        source=f"{rows} rows of {benign.source}, {count} of them of {harmful.source}, seed {seed}",
    )


def harmful_count(share: float, rows: int) -> int:
    """``share`` of ``rows`` to the nearest whole, a half upwards.

    Raises ValueError for a share outside [0, 1], fewer than one row, or a share between 0 and 1
    that leaves no row of one kind.
    """
    if not 0.0 <= share <= 1.0 or rows < 1:
        raise ValueError(f"a share of {share} of {rows} rows")
    # As a decimal: 0.35 of 10 is 3.5, though the float is a little less.
    count = math.floor(Fraction(str(float(share))) * rows + Fraction(1, 2))
    if 0.0 < share < 1.0 and count in (0, rows):
        raise ValueError(f"a share of {share} of {rows} rows leaves no row of one kind")
    return count


def _draw(dataset: Dataset, count: int, *, seed: int, without: set[str]) -> list[Example]:
    """The first ``count`` allowed rows of a seeded order, in that order."""
    allowed = [example for example in dataset.examples if _same(example.prompt) not in without]
    if count > len(allowed):
        left_out = len(dataset) - len(allowed)
        raise InputError(
            f"{count} rows are needed, and there are {len(allowed)}"
            f"{f' besides {left_out} whose prompt is held out or harmful' if left_out else ''}.",
            remedy="Ask for fewer rows or name a larger dataset: no row is used twice.",
            file=dataset.source,
        )
    order = np.random.default_rng(spawn_seed(seed, dataset.sha256)).permutation(len(allowed))
    return [allowed[index] for index in order[:count]]


def _same(prompt: str) -> str:
    return " ".join(prompt.split()).casefold()
