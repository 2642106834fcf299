"""Sets of runs, routers, images and optimisers: their truths against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from sims.families.budgets import Budgets
from sims.families.routers import Images, Routers
from sims.families.run_sets import RunSets, _Quadratics, _Tables
from theory.bound import Direction, Quantity
from theory.exact import exact
from theory.strategy import LossConstraint


@pytest.mark.parametrize("family", [_Tables, _Quadratics])
def test_slacks_are_those_of_the_objective(family) -> None:
    rng = np.random.default_rng(0)
    made = family(rng, 300)
    lam = 10.0 ** rng.uniform(-1, 1, size=300)
    best = made.minimiser(lam)
    known = exact(made.problem, LossConstraint(lam=lam))
    losses = made.losses(best)
    np.testing.assert_allclose(losses.task, known.capability_gap, rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(losses.proxy, known.proxy_safety_gap, rtol=1e-6, atol=1e-12)
    size = losses.task + lam * losses.proxy
    assert (made.slack(best, best, lam) <= 1e-9 * size + 1e-11).mean() > 0.75
    other = made.spoil(rng, best, rng.random(300))
    spoiled = made.losses(other)
    finite = np.isfinite(spoiled.task) & np.isfinite(spoiled.proxy)
    rise = spoiled.task + lam * spoiled.proxy - losses.task - lam * losses.proxy
    certified = made.slack(other, best, lam)
    size = np.abs(spoiled.task) + lam * spoiled.proxy
    assert (certified >= rise - 1e-12 * size)[finite].all()
    np.testing.assert_allclose(
        certified[finite], rise[finite], rtol=1e-3, atol=1e-9 * (1 + size[finite].max())
    )
    assert (rise[finite] > 1e-6).mean() > 0.8


def test_sets_speak_of_every_part_of_t17_and_hold_undertrained_runs() -> None:
    rng = np.random.default_rng(1)
    found: dict[tuple, np.ndarray] = {}
    for case in RunSets().cases(rng, 200):
        assert case.finetunes == 5 * case.n
        for b in case.bounds:
            assert b.statement == "T17"
            found[b.form, b.quantity, b.direction] = b
            total = sum(np.asarray(t) for t in b.terms.values())
            finite = np.isfinite(b.value)
            np.testing.assert_allclose(total[finite], b.value[finite], rtol=1e-9, atol=1e-9)
    forms = {form for form, _, _ in found}
    assert forms == {"envelope", "bracket", "mutual check", "mutual check by radius"}
    sides = {(q, d) for form, q, d in found if form == "bracket"}
    gaps = (Quantity.PROXY_SAFETY_GAP, Quantity.CAPABILITY_GAP)
    assert sides == {(q, d) for q in gaps for d in (Direction.UPPER, Direction.LOWER)}
    beaten = found["mutual check", Quantity.WEIGHTED_SUM, Direction.UPPER]
    assert 0.05 < (beaten.terms["beaten by another run"] < -1e-9).mean() < 0.95


def test_a_router_is_one_model_where_its_rule_says_so() -> None:
    rng = np.random.default_rng(2)
    (case,) = Routers().cases(rng, 400)
    (run,) = case.runs
    aligned = case.problem.capability_gap_at_aligned
    whole = np.isclose(run.truth[Quantity.CAPABILITY_GAP], aligned, rtol=1e-9, atol=1e-15)
    assert whole.mean() > 0.15  # everything to the aligned model, among others
    (exactly,) = [
        b
        for b in case.bounds
        if b.direction is Direction.EQUALITY and b.quantity is Quantity.CAPABILITY_GAP
    ]
    np.testing.assert_allclose(
        run.truth[Quantity.CAPABILITY_GAP], exactly.value, rtol=1e-9, atol=1e-14
    )


def test_images_are_met_by_disjoint_targets_and_never_beaten() -> None:
    rng = np.random.default_rng(3)
    highest = 0.0
    for _ in range(8):
        (case,) = Images().cases(rng, 500)
        (run,) = case.runs
        for b in case.bounds:
            used = b.value > 1e-9
            highest = max(highest, (run.truth[b.quantity][used] / b.value[used]).max())
    assert 0.99 < highest <= 1.0 + 1e-9


def test_optimisers_move_what_a_closed_form_says() -> None:
    # The adversary of SGD walks straight: the radius is attained to rounding.
    rng = np.random.default_rng(4)
    forms: dict[str, list[float]] = {}
    for _ in range(12):
        for case in Budgets().cases(rng, 300):
            (b,), (run,) = case.bounds, case.runs
            moved = run.truth[Quantity.RADIUS]
            assert (moved <= b.value * (1 + 1e-12) + 1e-13).all()
            ratio = moved[b.value > 0] / b.value[b.value > 0]
            forms.setdefault(b.form, []).append(ratio.max(initial=0.0))
    assert set(forms) == {"SGD", "Adam", "AdamW", "LoRA product"}
    for form, ratios in forms.items():
        assert max(ratios) > 1.0 - 1e-9, form
