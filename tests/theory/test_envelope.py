"""T17 on exact minimisers with known slack: tabular mixtures and quadratics."""

from __future__ import annotations

import numpy as np
import pytest

from theory.envelope import Run, bracket, envelope, undertrained, undertrained_by_radius
from theory.exact import exact
from theory.problem import Distribution, QuadraticProblem, TabularProblem
from theory.strategy import LossConstraint, ParameterConstraint

LAMS = np.array([0.1, 0.4, 1.0, 2.5, 8.0])


class Tabular:
    """Losses as gaps: T17 does not care about the constants f*."""

    def __init__(self, seed):
        rng = np.random.default_rng(seed)
        x, v = 5, 4
        task, proxy = (
            Distribution(rng.dirichlet(np.ones(x)), rng.dirichlet(np.ones(v), size=x))
            for _ in range(2)
        )
        self.problem = TabularProblem(proxy, task)
        self.rng = rng

    def losses(self, policy):
        log = np.log(policy)
        return [
            -(d.context[..., None] * d.target * log).sum()
            for d in (self.problem.proxy, self.problem.task)
        ]

    def minimiser(self, lam):
        return exact(self.problem, LossConstraint(lam=lam)).policy

    def anything(self):
        return self.rng.dirichlet(np.ones(4), size=5)

    def near(self, policy, size):
        moved = policy * np.exp(size * self.rng.normal(size=policy.shape))
        return moved / moved.sum(axis=-1, keepdims=True)


class Quadratic:
    def __init__(self, seed):
        rng = np.random.default_rng(seed)
        a, b = rng.normal(size=(2, 3, 3))
        self.problem = QuadraticProblem(
            a @ a.T, b @ b.T, rng.normal(size=3), 2 * rng.normal(size=3)
        )
        self.rng = rng

    def losses(self, theta):
        p = self.problem
        return [
            0.5 * (theta - centre) @ h @ (theta - centre)
            for h, centre in ((p.H_s, p.theta_s), (p.H_f, p.theta_f))
        ]

    def minimiser(self, lam):
        return exact(self.problem, LossConstraint(lam=lam)).policy

    def anything(self):
        return self.problem.theta_s + 3 * self.rng.normal(size=3)

    def near(self, theta, size):
        return theta + size * self.rng.normal(size=3)


FAMILIES = [Tabular(0), Tabular(1), Quadratic(0), Quadratic(1)]


def objective(family, theta, lam):
    proxy, task = family.losses(theta)
    return task + lam * proxy


def finished(family, lams=LAMS, size=0.0):
    """Runs that stop short of their minimum, with their true slack."""
    runs = []
    for lam in lams:
        best = family.minimiser(lam)
        theta = family.near(best, size) if size else best
        slack = objective(family, theta, lam) - objective(family, best, lam)
        runs.append(Run(*family.losses(theta), lam=lam, slack=max(slack, 0.0)))
    return runs


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("size", [0.0, 0.3])
def test_no_point_of_the_class_lies_below_the_envelope(family, size):
    draws = [family.losses(family.anything()) for _ in range(300)]
    for lam in np.geomspace(0.01, 100, 30):
        best = family.minimiser(lam)
        draws += [family.losses(best), family.losses(family.near(best, 0.2))]
    proxy, task = np.array(draws).T
    floor = envelope(finished(family, size=size))
    assert (task >= floor(proxy) - 1e-12).all()
    # It is tight at the runs themselves, as far as their slack allows.
    for run in finished(family):
        assert floor(run.proxy_loss) <= run.task_loss + 1e-12
    if size == 0.0:
        for run in finished(family):
            assert floor(run.proxy_loss) == pytest.approx(run.task_loss, abs=1e-10)
    # Mutant: slack forgotten.
    if size:
        bare = finished(family, size=size)
        intercept = np.array([r.task_loss + r.lam * r.proxy_loss for r in bare])
        mutant = (intercept - LAMS * proxy[:, None]).max(axis=1)
        assert (task < mutant - 1e-9).any()


def test_the_envelope_is_convex_and_non_increasing():
    floor = envelope(finished(FAMILIES[0], size=0.2))
    grid = np.linspace(-1, 8, 300)
    values = floor(grid)
    assert (np.diff(values) <= 0).all()
    assert (np.diff(values, 2) >= -1e-12).all()
    assert floor(grid.reshape(3, 100)).shape == (3, 100)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("size", [0.0, 0.2])
@pytest.mark.parametrize("own", [0.0, 0.2])
def test_the_bracket_holds_every_run_that_was_not_made(family, size, own):
    runs = finished(family, size=size)
    unseen = np.array([0.15, 0.4, 0.7, 1.7, 5.0])
    for lam in unseen:
        best = family.minimiser(lam)
        theta = family.near(best, own) if own else best
        slack = max(objective(family, theta, lam) - objective(family, best, lam), 0.0)
        proxy, task = family.losses(theta)
        found = bracket(runs, lam, slack)
        assert found.proxy_loss_lower - 1e-10 <= proxy <= found.proxy_loss_upper + 1e-10
        assert found.task_loss_lower - 1e-10 <= task <= found.task_loss_upper + 1e-10
        # At the end of the bracket the polygon meets the envelope.
        meet = envelope(runs)(found.proxy_loss_upper)
        assert found.task_loss_lower == pytest.approx(meet, abs=1e-8)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_bracket_is_never_wider_than_the_pairwise_form_and_often_narrower(family):
    runs = finished(family, size=0.2)
    slack, narrower = 0.01, 0
    for lam in (0.2, 0.7, 1.7, 5.0):
        found = bracket(runs, lam, slack)
        upper = min(r.proxy_loss + (slack + r.slack) / (lam - r.lam) for r in runs if r.lam < lam)
        lower = max(r.proxy_loss - (slack + r.slack) / (r.lam - lam) for r in runs if r.lam > lam)
        assert found.proxy_loss_upper <= upper + 1e-10
        assert found.proxy_loss_lower >= lower - 1e-10
        task = min(r.task_loss + lam * (r.proxy_loss - found.proxy_loss_lower) for r in runs)
        assert found.task_loss_upper <= task + slack + 1e-10
        narrower += found.proxy_loss_upper < upper - 1e-9 or found.proxy_loss_lower > lower + 1e-9
    assert narrower > 0


def test_the_bracket_is_sharp_its_corners_are_points_of_the_polygon():
    runs = [Run(1.0, 0.2, 0.5), Run(0.4, 0.8, 2.0)]
    found = bracket(runs, 1.0, 0.05)
    for s, c in (
        (found.proxy_loss_upper, found.task_loss_lower),
        (found.proxy_loss_lower, found.task_loss_upper),
    ):
        assert c >= envelope(runs)(s) - 1e-12
        assert c + 1.0 * s <= min(1.2, 1.2) + 0.05 + 1e-12
    # By hand: s <= 1 + 0.05 / 0.5 and s >= 0.4 - 0.05 / 1.
    assert found.proxy_loss_upper == pytest.approx(1.1)
    assert found.proxy_loss_lower == pytest.approx(0.35)
    # Without the caller's own slack the same point would fall outside.
    assert bracket(runs, 1.0).proxy_loss_upper == pytest.approx(1.0)


def test_exact_runs_close_the_bracket_between_neighbours_of_the_front():
    family = FAMILIES[0]
    runs = finished(family)
    found = bracket(runs, np.array([0.7, 1.7]))
    order = sorted(r.proxy_loss for r in runs)
    assert found.proxy_loss_upper.shape == (2,)
    assert (found.proxy_loss_upper <= order[3] + 1e-12).all()
    assert (found.proxy_loss_lower >= order[1] - 1e-12).all()


def test_outside_the_runs_one_side_is_open():
    runs = finished(FAMILIES[0])
    low, high = bracket(runs, 0.01), bracket(runs, 100.0)
    assert low.proxy_loss_upper == np.inf
    assert low.task_loss_lower == -np.inf
    assert np.isfinite(low.proxy_loss_lower)
    assert high.proxy_loss_lower == -np.inf
    assert high.task_loss_upper == np.inf
    assert np.isfinite(high.proxy_loss_upper)
    # A plain fine-tune (lam 0) closes the lower side.
    plain = Run(*FAMILIES[0].losses(FAMILIES[0].minimiser(1e-9)), lam=0.0)
    assert np.isfinite(bracket([plain, *runs], 0.01).task_loss_lower)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_mutual_check_never_exceeds_the_true_slack_and_finds_a_bad_run(family):
    runs = finished(family, size=0.15)
    assert (undertrained(runs) <= np.array([r.slack for r in runs]) + 1e-12).all()
    np.testing.assert_allclose(undertrained(finished(family)), 0.0, atol=1e-10)
    bad = family.near(family.minimiser(1.0), 2.0)
    runs = [*finished(family), Run(*family.losses(bad), lam=1.0, slack=1e3)]
    truth = objective(family, bad, 1.0) - objective(family, family.minimiser(1.0), 1.0)
    shown = undertrained(runs)
    np.testing.assert_allclose(shown[:-1], 0.0, atol=1e-10)
    assert shown[-1] == pytest.approx(truth, rel=1e-9)  # lam 1 is among the good runs


def test_a_slack_that_other_runs_refute_is_refused():
    family = FAMILIES[2]
    bad = family.near(family.minimiser(1.0), 2.0)
    runs = [*finished(family), Run(*family.losses(bad), lam=1.0, slack=0.0)]
    for use in (envelope, lambda r: bracket(r, 0.5)):
        with pytest.raises(ValueError, match=r"run 6 \(lam 1\).*at least that slack"):
            use(runs)
    least = undertrained(runs)[-1]
    envelope([*runs[:-1], Run(*family.losses(bad), lam=1.0, slack=float(least))])


def test_a_larger_ball_that_does_worse_was_undertrained():
    problem = FAMILIES[2].problem
    radii = np.array([0.5, 0.1, 0.3, 0.5])
    losses = np.array(
        [exact(problem, ParameterConstraint(radius=float(r))).capability_gap for r in radii]
    )
    np.testing.assert_allclose(undertrained_by_radius(radii, losses), 0.0, atol=1e-12)
    losses[0] = losses[1] + 0.2
    expected = [losses[0] - losses[3], 0.0, 0.0, 0.0]
    np.testing.assert_allclose(undertrained_by_radius(radii, losses), expected, atol=1e-12)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Run(np.nan, 1.0, 1.0), "proxy_loss"),
        (lambda: Run(1.0, np.inf, 1.0), "task_loss"),
        (lambda: Run(1.0, 1.0, -1.0), "lam"),
        (lambda: Run(1.0, 1.0, 1.0, -0.1), "slack"),
        (lambda: envelope([]), "at least one run"),
        (lambda: undertrained([]), "at least one run"),
        (lambda: bracket([Run(1.0, 1.0, 1.0)], 0.0), "lam"),
        (lambda: bracket([Run(1.0, 1.0, 1.0)], 1.0, -1.0), "slack"),
        (lambda: undertrained_by_radius([1.0], [1.0, 2.0]), "one entry"),
        (lambda: undertrained_by_radius([1.0], [np.nan]), "finite"),
    ],
)
def test_bad_runs_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
