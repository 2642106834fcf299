"""Cases of single problems: their bounds stacked, and trained models among the families."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from sims.audit import audit, passed
from sims.family import Case, Kind, Run, stacked, strategy_words
from theory.bound import Quantity, Status
from theory.evaluation import evaluate
from theory.problem import Constants
from theory.strategy import Hybrid, LossConstraint

LAM = LossConstraint(lam=2.0)


def constants(i: int) -> Constants:
    known = {"capability_gap_at_aligned": 1.0 + i, "loss_range": 4.0, "optimality_slack": 0.1}
    return Constants({**known, "tv": 0.1} if i % 2 else known)


def test_stacked_bounds_are_those_of_the_single_problems() -> None:
    singles = [evaluate(constants(i), LAM) for i in range(4)]
    together = stacked(singles)
    for b in together:
        assert np.shape(b.value) == (4,)
        for i, bounds in enumerate(singles):
            alone = [
                o
                for o in bounds
                if (o.statement, o.quantity, o.direction, o.form)
                == (b.statement, b.quantity, b.direction, b.form)
                and o.status != Status.NOT_APPLICABLE
            ]
            if not alone:
                assert b.status[i] == Status.NOT_APPLICABLE
                continue
            assert b.value[i] == alone[0].value
            assert b.status[i] == alone[0].status
            assert {n: t[i] for n, t in b.terms.items() if t[i]} == {
                n: t for n, t in alone[0].terms.items() if t
            }
    applying = {b.statement for bounds in singles for b in bounds if b.applies}
    assert {b.statement for b in together} == applying
    mixed = [b for b in together if len(set(b.applies)) == 2]
    assert mixed  # tv is known of every other instance alone


class Trained:
    """Models whose safety gap is ``share`` of T1's bound from their own constants."""

    name, chunk = "trained", 8

    def __init__(self, share: float) -> None:
        self.share = share

    def cases(self, rng: np.random.Generator, n: int) -> Iterator[Case]:
        problem = Constants({"capability_gap_at_aligned": 1.0, "loss_range": 4.0, "tv": 0.1})
        bounds = [b for b in stacked([evaluate(problem, LAM)] * n) if b.statement == "T1"]
        gap = {Quantity.SAFETY_GAP: self.share * bounds[0].value}
        run = Run(
            kind=Kind.MINIMISER,
            truth=gap,
            error={Quantity.SAFETY_GAP: np.full(n, 1e-9)},
            lam=np.full(n, 2.0),
            slack=np.zeros(n),
            checked=np.arange(n) != 0,
        )
        yield Case(bounds, [run], n, "LossConstraint by lam", 3 * n, strategy=LAM, mutants=False)


def test_trained_families_are_counted_checked_and_not_asked_for_mutants() -> None:
    row = audit([(Trained(0.5), 20)], seed=0)["T1"]
    assert (row.instances, row.finetunes, row.violations) == (17, 51, 0)
    assert row.mutants == {}
    assert row.max_ratio == pytest.approx(0.5, abs=1e-6)
    assert passed({"T1": row})
    broken = audit([(Trained(1.01), 20)], seed=0)["T1"]
    assert broken.violations == broken.comparisons == 17
    assert broken.broken[0]["chunk"] == 0
    assert broken.broken[0]["index"] == 1


def test_strategies_are_told_without_their_numbers() -> None:
    assert strategy_words(Hybrid(lam=1.0, radius=2.0)) == "Hybrid by lam and radius"
