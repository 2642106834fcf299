"""Rows of an audit: histograms of tightness, and parts that add up in their order."""

from __future__ import annotations

import numpy as np
import pytest

from sims.rows import (
    Mutant,
    StatementAudit,
    Tightness,
    add_rows,
    caught_mutants,
    surviving_families,
)


def histogram(ratios) -> Tightness:
    made = Tightness()
    made.add(np.asarray(ratios, dtype=float))
    return made


def test_quantiles_are_those_of_the_ratios_to_a_bin() -> None:
    ratios = np.random.default_rng(0).beta(0.5, 0.5, size=20_000)
    found = histogram(ratios)
    for share in (0.05, 0.25, 0.5, 0.75, 0.95):
        assert found.quantile(share) == pytest.approx(np.quantile(ratios, share), rel=0.03)


def test_what_is_tiny_is_0_and_what_is_tight_is_1() -> None:
    found = histogram([0.0, 0.0, 1e-6, 0.99, 1.0, 1.0 + 1e-9])
    assert found.quantile(0.3) == 0.0
    assert found.quantile(0.6) == pytest.approx(0.99, abs=1e-3)
    assert found.quantile(0.9) == 1.0
    assert found.as_json()["instances"] == 6
    assert np.isnan(Tightness().quantile(0.5))


def part(
    k: int, ratio: float, *, broken: int = 0, caught: bool = False
) -> dict[str, StatementAudit]:
    row = StatementAudit(
        instances=10, finetunes=20, comparisons=30, max_ratio=ratio, worst={"chunk": k}
    )
    for index in range(broken):
        row.violated({"chunk": k, "index": index}, 1)
    row.mutants["m"] = Mutant("m", {"chunk": k} if caught else None, {"tabular"})
    row.tightness["tabular", "safety_gap", "upper", "f"] = histogram([0.5])
    return {"T1": row}


def test_parts_add_up_and_the_first_find_stays() -> None:
    rows: dict[str, StatementAudit] = {}
    add_rows(rows, part(0, 0.5))
    assert caught_mutants(rows) == frozenset()
    assert surviving_families(rows.values()) == {"tabular"}
    for k, ratio in ((1, 0.9), (2, 0.9), (3, 0.2)):
        add_rows(rows, part(k, ratio, broken=3, caught=True))
    row = rows["T1"]
    assert (row.instances, row.finetunes, row.comparisons, row.violations) == (40, 80, 120, 9)
    assert row.worst == {"chunk": 1}
    assert [case["chunk"] for case in row.broken] == [1, 1, 1, 2, 2]
    assert row.mutants["m"].caught_by == {"chunk": 1}
    assert caught_mutants(rows) == {("T1", "m")}
    assert surviving_families(rows.values()) == set()
    assert row.as_json()["tightness"][0]["instances"] == 4
    assert row.median == pytest.approx(0.5, rel=0.03)
