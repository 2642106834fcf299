"""The adversary: it climbs to every tight bound and past none, and finds planted errors out."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from finebound.base.problem_file import read_problem
from finebound.base.records import to_json
from sims.adversary import CLAIMED, FORMS, LOOSE, WORLDS, search, worst_cases
from sims.adversary.balls import Balls, Coins
from sims.adversary.form import FROM_START
from sims.adversary.judge import PRECISION, judged
from sims.adversary.prices import Prices
from sims.adversary.quadratics import Quadratics
from sims.families.quadratic import Quadratic
from sims.families.tabular import Tabular
from theory import evaluation
from theory.bound import Bound, Direction, Quantity
from theory.strategy import Hybrid, LossConstraint, ParameterConstraint

SEED, RESTARTS, STEPS = 0, 8, 200
# The searches' own worlds, which are compiled but once.
COINS, PRICES = (next(w for w in WORLDS if isinstance(w, kind)) for kind in (Coins, Prices))


@pytest.fixture(scope="module")
def found():
    return worst_cases(seed=SEED, restarts=RESTARTS, steps=STEPS)


def attacked(world, steps: int = STEPS):
    return worst_cases(seed=SEED, restarts=RESTARTS, steps=steps, worlds=[world])


# --- what it reaches -----------------------------------------------------------------------------


# A short search of a few restarts; the default one reaches 0.99 of each supremum.
HARD = {
    "T9 tabular/safety_gap/upper/(A-J)/proxy mismatch": 0.7,
    "T9 tabular/safety_gap/upper/tabular/proxy mismatch": 0.65,
    "T12 tabular/safety_loss_increase/upper/centred logits/curvature": 0.9,
}


@pytest.mark.parametrize("name", FORMS)
def test_it_comes_close_to_the_proved_supremum_and_never_past_it(found, name) -> None:
    case = found[name]
    assert HARD.get(name, 0.98) < case.reached <= 1.0 + PRECISION
    assert case.error <= PRECISION
    assert case.restarts == RESTARTS
    assert list(case.history) == sorted(case.history)


def test_what_is_loose_says_why() -> None:
    assert set(CLAIMED) | set(LOOSE) == set(FORMS)
    assert len(CLAIMED) >= 80
    assert {form.sharpest for form in LOOSE.values()} == {0.25, 0.5, 1.0 / np.sqrt(2.0)}
    assert all(form.why for form in LOOSE.values())


def test_every_statement_of_tables_and_quadratics_is_attacked() -> None:
    """One that is added later may wait until somebody claims that it is tight."""
    attacked = {form.statement for form in FORMS.values()}
    assert {f"T{i}" for i in range(1, 13)} <= attacked <= set(evaluation.STATEMENTS)


def test_every_inequality_that_theory_offers_is_on_the_list() -> None:
    """Forms of tables and quadratics, in every strategy that has them; equalities are audited."""
    rng = np.random.default_rng(0)
    known = {(f.statement, f.family, f.quantity, f.direction, f.form) for f in FORMS.values()}
    missing = set()
    for family in (Tabular(), Quadratic()):
        problem = family.draw(rng, 50)
        for strategy in family.strategies(rng, problem):
            for b in evaluation.evaluate(problem, strategy):
                told = (b.statement, family.name, b.quantity, b.direction, b.form)
                if np.any(b.applies) and b.direction is not Direction.EQUALITY:
                    missing |= {told} - known
    # Another strategy's form by another name: lambda is 1 there, or epsilon the value gap.
    assert {(statement, form) for statement, *_, form in missing} == {
        ("T10", "G_f + 1 G_s, any policy"),
        ("T12", "constrained"),
    }


# --- closed-form oracles -------------------------------------------------------------------------


def coin_attempt(here: float, there: float, share: float):
    world = Coins()
    x = {"here": [here], "there": [there], "move": [share * (there - here)]}
    return {f.form: f for f in world.forms}, world, {k: np.array(v) for k, v in x.items()}


def test_a_coin_far_from_its_target_has_the_ratio_of_pencil_and_paper() -> None:
    """``KL(1/2 || e^-L) = L/2 - log 2``, nearly straight: half the way takes off L/4."""
    log_odds = 200.0
    forms, world, x = coin_attempt(-log_odds, 0.0, 0.5)
    ratio, error, _ = judged(
        forms["convex"], world.attempt(forms["convex"], x), np.array([1.0 + 16.0 * log_odds])
    )
    expected = 0.5 * (log_odds / 2 - np.log(2.0)) / (log_odds / 4)
    assert ratio[0] == pytest.approx(expected, rel=1e-12)
    assert error[0] < PRECISION


def line(h_s: float, h_f: float, d: float, lam: float, radius: float):
    """Two coordinates, of which the second is at rest in every strategy."""
    eye = np.diag([1.0, 1.0])[None]
    return {
        "H_s": h_s * eye,
        "H_f": h_f * eye,
        "d": np.array([[d, 0.0]]),
        "any": np.array([[0.0, 0.0]]),
        "lam": np.array([lam]),
        "radius": np.array([radius]),
    }


def line_ratio(name: str, **values: float) -> float:
    world = Quadratics()
    (form,) = (f for f in world.forms if f.name == name)
    ratio, _, _ = judged(form, world.attempt(form, line(**values)), np.ones(1))
    return float(ratio[0])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # x = f d / (f + lam s) with f = 1, lam s = 6, d = 2: x = 2/7.
        ("T1 quadratic/safety_gap/upper/perfect proxy", (12 / 7) / (26 / 7)),
        ("T2 quadratic/capability_gap/upper/task optimum", 6 / 49),
        ("T2 quadratic/capability_gap/upper/proxy optimum", 36 / 49),
        ("T2 quadratic/proxy_safety_gap/upper/proxy optimum", 6 / 49),
        ("T1 quadratic/proxy_safety_gap/upper/quadratic growth", 0.25 * (6 / 7) ** 2),
        ("T7 quadratic/capability_gap/lower/smooth/from the start", 1.0),
        ("T6 quadratic/safety_gap/upper/smooth", 1.0),
    ],
)
def test_ratios_on_a_line_are_those_of_pencil_and_paper(name, expected) -> None:
    """T1: ``lam G_s / (G_0 - G_f) = (d - x) / (2 d - x)``; T2: shares of ``f lam s``."""
    found = line_ratio(name, h_s=3.0, h_f=1.0, d=2.0, lam=2.0, radius=0.7)
    assert found == pytest.approx(expected, rel=1e-10)


# --- planted errors ------------------------------------------------------------------------------


def planted(monkeypatch, statement: str, change) -> None:
    true = evaluation.STATEMENTS[statement]

    def wrong(problem, strategy):
        return [change(b) for b in true(problem, strategy)]

    monkeypatch.setitem(evaluation.STATEMENTS, statement, wrong)


def tightened(b: Bound) -> Bound:
    factor = 0.98 if b.direction is Direction.UPPER else 1.0 / 0.98
    terms = {name: factor * np.asarray(term) for name, term in b.terms.items()}
    return replace(b, value=factor * np.asarray(b.value), terms=terms)


def without(b: Bound, term: str) -> Bound:
    rest = {name: t for name, t in b.terms.items() if name != term}
    return replace(b, value=sum(map(np.asarray, rest.values())), terms=rest) if rest else b


def test_two_percent_too_good_are_found_out_in_every_claimed_form(monkeypatch, found) -> None:
    """``found`` is asked for first: it is made before anything is planted."""
    for statement in evaluation.STATEMENTS:
        planted(monkeypatch, statement, tightened)
    wrong = worst_cases(seed=SEED, restarts=RESTARTS, steps=STEPS)
    escaped = [n for n in CLAIMED if n not in HARD and wrong[n].ratio <= 1.0 + PRECISION]
    assert escaped == []


@pytest.mark.parametrize(
    ("statement", "form", "term"),
    [
        ("T6", "smooth", "slope"),
        ("T6", "smooth", "curvature"),
        ("T6", "(A-J)", "aligned model off the safety data"),
        ("T1", "context and teacher", "teacher mismatch"),
        ("T1", "Kullback-Leibler", "proxy mismatch"),
        ("T5", "logarithm", "forgotten"),
        ("T9", "tabular", "proxy mismatch"),
        ("T12", "centred logits", "gradient mismatch"),
        ("T12", "centred logits", "curvature"),
    ],
)
def test_a_dropped_term_is_found_out(monkeypatch, found, statement, form, term) -> None:
    planted(monkeypatch, statement, lambda b: without(b, term) if b.form == form else b)
    (name,) = (
        n
        for n, f in FORMS.items()
        if (f.statement, f.family, f.form, f.part) == (statement, "tabular", form, term)
    )
    world = next(w for w in WORLDS if name in {f.name for f in w.forms})
    assert attacked(world)[name].ratio > 1.0 + PRECISION


# --- what is kept, and bad input -----------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "T4 tabular/proxy_safety_gap/upper/mass",
        "T7 tabular/capability_gap/lower/convex/from the start",
        "T8 quadratic/radius/lower/(d) forced radius, smooth",
        "T9 quadratic/capability_gap/upper/comparator theta_s",
    ],
)
def test_a_worst_case_is_a_problem_file_that_gives_its_bound_again(found, name, tmp_path) -> None:
    case = json.loads(to_json(found[name].as_json()))
    path = tmp_path / "problem.json"
    path.write_text(json.dumps(case["problem"]))
    given = dict(case["strategy"])
    kinds = {"loss": LossConstraint, "parameter": ParameterConstraint, "hybrid": Hybrid}
    strategy = kinds[given.pop("kind")](**given)
    bounds = evaluation.evaluate(read_problem(path), strategy, statements=[found[name].statement])
    assert FORMS[name].of(bounds).value == pytest.approx(case["bound"], rel=1e-12)


def test_the_seed_decides_the_search(found) -> None:
    again = attacked(COINS)
    assert all(again[name] == found[name] for name in again)
    other = worst_cases(seed=SEED + 1, restarts=RESTARTS, steps=STEPS, worlds=[COINS, PRICES])
    assert all(other[name].ratio != found[name].ratio for name in other)


def test_more_steps_climb_higher() -> None:
    short, long = attacked(COINS, steps=2), attacked(COINS)
    assert all(long[name].ratio > short[name].ratio for name in long)


@pytest.mark.parametrize("bad", [{"restarts": 0}, {"steps": 0}])
def test_a_search_of_nothing_is_refused(bad) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        search(seed=0, **bad)


def test_an_instance_without_digits_does_not_count_but_a_violation_does() -> None:
    forms, world, x = coin_attempt(-1.0, 0.0, 1e-9)
    form = forms["smooth"]
    attempt = world.attempt(form, x)
    ratio, _, _ = judged(form, attempt, np.ones(1))
    assert ratio[0] == -np.inf  # it gains 1e-10 nats
    assert form.part == FROM_START
    broken = replace(attempt, truth=attempt.truth + 1e-6)
    ratio, _, _ = judged(form, broken, np.ones(1))
    assert ratio[0] > 1.0 + PRECISION


def test_balls_judge_the_policy_that_the_step_leads_to() -> None:
    """Twice the radius is as good as no constraint: the judge uses the step's own length."""
    world = Balls()
    (form,) = (f for f in world.forms if f.form == "Lipschitz")
    half = np.array([[0.5, 0.5, 0.0], [0.5, 0.5, 0.0]])
    table = np.full((1, 2, 3), 1.0 / 3.0)
    x = {
        "rho_s": np.array([[1.0, 0.0]]),
        "rho_f": np.array([[1.0, 0.0]]),
        "mu_s": half[None],
        "mu_f": table,
        "aligned": table,
        "step": np.array([[[0.0, 0.0, 3.0], [0.0, 0.0, 0.0]]]),
    }
    attempt = world.attempt(form, x)
    assert attempt.strategy.radius[0] == pytest.approx(3.0, rel=1e-14)
    # KL(1/2, 1/2 | 1/(2 + e^3) twice) = log((2 + e^3) / 2).
    assert attempt.truth[0] == pytest.approx(np.log((2.0 + np.exp(3.0)) / 2.0), rel=1e-14)
    assert form.quantity is Quantity.SAFETY_GAP
