"""The audit: no statement breaks, every mutant does, and a wrong statement is found out."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

import sims.audit
import theory.evaluation
from sims.audit import audit, passed
from sims.families.price import Price
from sims.families.quadratic import Quadratic
from sims.families.registry import CLOSED_FORM, FAMILIES
from sims.families.tabular import Tabular
from theory.bound import Bound, Direction, Quantity, Status
from theory.evaluation import STATEMENTS
from theory.statement import Statement

FEW = 600
ON_SETS = {"T13", "T15", "T17", "T18", "T19", "T23", "T24", "T25"}


def every_family(instances: int) -> list:
    return [(FAMILIES[name], instances) for name in CLOSED_FORM]


@pytest.fixture(scope="module")
def thousands():
    return audit(every_family(4_096), seed=0)


@pytest.fixture
def no_more(monkeypatch):
    """An audit that stops when it has drawn what it was asked for."""
    monkeypatch.setattr(sims.audit, "EXTRA_CHUNKS", 0)


def test_no_statement_is_violated_on_thousands_of_instances(thousands) -> None:
    assert set(thousands) == set(STATEMENTS) | ON_SETS
    for name, row in thousands.items():
        assert row.violations == 0, (name, row.broken)
        assert row.instances >= 4_000, name
        assert row.finetunes >= row.instances, name
        assert row.max_ratio <= 1.0 + 1e-9, (name, row.worst)


def test_every_mutant_is_refuted_and_the_report_says_by_which_instance(thousands) -> None:
    for name, row in thousands.items():
        survivors = [m.name for m in row.mutants.values() if m.caught_by is None]
        assert not survivors, (name, survivors)
        assert len(row.mutants) >= 4, name
        for case in row.as_json()["caught_by"].values():
            assert {"family", "chunk", "index", "strategy", "form", "truth", "bound"} <= set(case)
    assert passed(thousands)


def test_some_instance_comes_close_to_every_statement(thousands) -> None:
    for name, row in thousands.items():
        assert row.max_ratio > 0.98, (name, row.worst)


def test_tightness_is_told_by_family_and_form(thousands) -> None:
    for name, row in thousands.items():
        parts = row.as_json()["tightness"]
        assert parts, name
        for part in parts:
            assert part["family"] in FAMILIES
            quantiles = [part[q] for q in ("q05", "q25", "q50", "q75", "q95")]
            assert quantiles == sorted(quantiles)
            assert 0.0 <= quantiles[0] <= quantiles[-1] <= 1.0
        assert sum(part["instances"] for part in parts) <= row.comparisons
    exact = [
        part for part in thousands["T18"].as_json()["tightness"] if part["direction"] == "equality"
    ]
    assert exact
    assert all(part["q50"] > 0.97 for part in exact)


def test_a_few_instances_are_enough_to_refute_every_mutant() -> None:
    rows = audit(every_family(20), seed=4)
    survivors = [m.name for row in rows.values() for m in row.mutants.values() if not m.caught_by]
    assert not survivors
    assert passed(rows)


def test_the_seed_decides_everything(no_more) -> None:
    first, again, other = (
        {name: row.as_json() for name, row in audit([(Quadratic(), FEW)], seed=seed).items()}
        for seed in (3, 3, 4)
    )
    assert first == again
    assert first != other


def test_processes_change_nothing() -> None:
    sizes = [(FAMILIES["routers"], 7 * 2048 + 5), (FAMILIES["price"], 2 * 2048)]
    seen: list[str] = []

    def told(items, doing):
        seen.append(f"{doing}: {len(items)}")
        return items

    alone, shared = (audit(sizes, seed=5, workers=w, progress=told) for w in (1, 2))
    assert seen == ["auditing every statement: 10"] * 2
    assert {n: row.as_json() for n, row in alone.items()} == {
        n: row.as_json() for n, row in shared.items()
    }
    assert alone["T18"].instances == 7 * 2048 + 5


def changed(statement: str, change: Callable[[Bound], Bound]) -> Statement:
    """The statement with its bounds put through ``change``."""
    honest = STATEMENTS[statement]
    return lambda problem, strategy: [change(b) for b in honest(problem, strategy)]


def scaled(factor: float):
    def change(b: Bound) -> Bound:
        if b.direction is not Direction.UPPER or np.all(b.status == Status.NOT_APPLICABLE):
            return b
        return replace(b, value=np.asarray(b.value) * factor)

    return change


@pytest.mark.parametrize(
    ("statement", "family"),
    [(s, Tabular()) for s in ("T1", "T2", "T4", "T5", "T6", "T7", "T9", "T12")]
    + [(s, Quadratic()) for s in ("T2", "T6", "T7", "T9", "T12")],
)
def test_a_bound_two_percent_too_tight_is_a_violation(
    monkeypatch, no_more, statement, family
) -> None:
    honest = dict(theory.evaluation.STATEMENTS)
    for name in honest:
        if name != statement:
            monkeypatch.delitem(theory.evaluation.STATEMENTS, name)
    monkeypatch.setitem(theory.evaluation.STATEMENTS, statement, changed(statement, scaled(0.98)))
    row = audit([(family, 4_096)], seed=1)[statement]
    assert row.violations > 0
    assert row.max_ratio > 1.0 + 1e-9
    assert row.broken[0]["truth"] > row.broken[0]["bound"] * 0.9


def test_a_bound_that_is_too_loose_lets_its_mutants_live(monkeypatch, no_more) -> None:
    monkeypatch.setitem(theory.evaluation.STATEMENTS, "T6", changed("T6", scaled(1.5)))
    rows = audit([(Quadratic(), FEW)], seed=1)
    assert rows["T6"].violations == 0
    assert rows["T6"].caught < len(rows["T6"].mutants)
    assert not passed(rows)


def test_a_wrong_price_is_a_violation(monkeypatch, no_more) -> None:
    def too_dear(b: Bound) -> Bound:
        return replace(b, value=np.asarray(b.value) * 1.02)

    monkeypatch.setitem(theory.evaluation.STATEMENTS, "T11", changed("T11", too_dear))
    assert audit([(Price(), FEW)], seed=1)["T11"].violations > 0


def test_a_nan_stops_the_audit(monkeypatch) -> None:
    def broken(b: Bound) -> Bound:
        return replace(b, value=np.nan * np.asarray(b.value))

    monkeypatch.setitem(theory.evaluation.STATEMENTS, "T7", changed("T7", broken))
    with pytest.raises(FloatingPointError, match="T7"):
        audit([(Quadratic(), 10)], seed=0)


def test_an_audit_of_nothing_or_by_nobody_is_refused() -> None:
    with pytest.raises(ValueError, match="price needs at least 1 instance"):
        audit([(Price(), 0)], seed=0)
    with pytest.raises(ValueError, match="at least 1 process"):
        audit([(Price(), 10)], seed=0, workers=0)


def test_simulations_do_not_know_real_models() -> None:
    code = (
        "import sys, sims.audit, sims.families.registry, sims.violated, sims.adversary;"
        "print([m for m in sys.modules if m.split('.')[0] in"
        " ('llm_validation', 'torch', 'transformers', 'paper_figures')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert done.stderr == ""


def test_quantities_of_every_family_are_known() -> None:
    rng = np.random.default_rng(0)
    for family in (Tabular(), Quadratic()):
        problem = family.draw(rng, 5)
        for strategy in family.strategies(rng, problem):
            truth = family.truths(problem, strategy)
            assert {Quantity.SAFETY_GAP, Quantity.CAPABILITY_GAP, Quantity.RADIUS} <= set(truth)
            assert all(value.shape == (5,) for value in truth.values())
