"""Sets of runs, some of them under-trained, and what they prove about other fine-tunes (T17)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from sims.families import quadratic, tabular
from sims.families.draws import tables
from sims.family import Case, Kind, Run
from theory import envelope as theorems
from theory.bound import Bound, Direction, Quantity, Status
from theory.divergence import Array
from theory.problem import Distribution, QuadraticProblem, TabularProblem

RUNS = 4
_CAPABILITY, _PROXY = Quantity.CAPABILITY_GAP, Quantity.PROXY_SAFETY_GAP
_UPPER, _LOWER = Direction.UPPER, Direction.LOWER
# Slacks are certified from above: by more than the rounding of a sum of long doubles.
_CERTIFIED = 1.0 + 1e-12


@dataclass(frozen=True, eq=False)
class Losses:
    """Of ``n`` models: gaps ``[n]`` in nats, which serve as losses, each with its error."""

    proxy: Array
    task: Array
    proxy_error: Array
    task_error: Array


class Class(Protocol):
    """A model class whose minimisers are known without theory's own solutions."""

    def minimiser(self, lam: Array) -> Array:
        """The model that minimises ``f_f + lam f_hat_s``."""
        ...

    def spoil(self, rng: np.random.Generator, model: Array, share: Array) -> Array:
        """The model moved off by a ``share [n]`` in (0, 1]."""
        ...

    def losses(self, model: Array) -> Losses: ...

    def slack(self, model: Array, best: Array, lam: Array) -> Array:
        """``F(model) - F(best)`` of the objective, ``[n]`` nats, not below the truth."""
        ...


class _Tables:
    """All policies of a table: the minimiser is a mixture of the two targets."""

    def __init__(self, rng: np.random.Generator, n: int) -> None:
        self.problem: TabularProblem = tables(rng, n)

    def minimiser(self, lam: Array) -> Array:
        return tabular.case_one_policy(self.problem, lam)

    def spoil(self, rng: np.random.Generator, model: Array, share: Array) -> Array:
        n, contexts, responses = model.shape
        random = rng.dirichlet(np.ones(responses), size=(n, contexts))
        kind = rng.integers(3, size=(n, 1, 1))
        other = np.choose(kind, [random, self.problem.task.target, self.problem.proxy.target])
        mix = share[:, None, None].astype(np.longdouble)
        return (1 - mix) * model + mix * other

    def losses(self, model: Array) -> Losses:
        error = np.full(len(model), 1e-17)
        proxy, task = (tabular.gap(d, model) for d in (self.problem.proxy, self.problem.task))
        return Losses(proxy, task, error, error)

    def slack(self, model: Array, best: Array, lam: Array) -> Array:
        # F(P) - F(P_lam) = sum (rho_f + lam rho_hat_s) KL(P_lam || P), an identity in P.
        mass = self.problem.task.context + lam[:, None] * self.problem.proxy.context
        return tabular.gap(Distribution.trusted(mass, best), model) * _CERTIFIED + 1e-16


class _Quadratics:
    """Points of a quadratic problem, as steps from theta_s in long double."""

    def __init__(self, rng: np.random.Generator, n: int) -> None:
        self.problem: QuadraticProblem = quadratic.Quadratic().draw(rng, n)

    def minimiser(self, lam: Array) -> Array:
        return quadratic.best_step(self.problem, lam)

    def spoil(self, rng: np.random.Generator, model: Array, share: Array) -> Array:
        size = np.linalg.norm(self.problem.displacement, axis=-1, keepdims=True)
        random = rng.normal(size=model.shape) * size
        kind = rng.integers(3, size=(len(model), 1))
        other = np.choose(kind, [random, 0.0 * random, self.problem.displacement])
        mix = share[:, None].astype(np.longdouble)
        return (1 - mix) * model + mix * other

    def losses(self, model: Array) -> Losses:
        run = quadratic.run_at(self.problem, model, Kind.ANY, np.ones(len(model)))
        return Losses(
            *(known[q] for known in (run.truth, run.error) for q in (_PROXY, _CAPABILITY))
        )

    def slack(self, model: Array, best: Array, lam: Array) -> Array:
        off = model - best
        matrix = self.problem.H_f + lam[:, None, None] * self.problem.H_s.astype(np.longdouble)
        excess = 0.5 * np.einsum("ni,nij,nj->n", off, matrix, off).astype(np.float64)
        errors = self.losses(best)
        rounding = errors.task_error + lam * errors.proxy_error
        return np.maximum(excess, 0.0) * _CERTIFIED + rounding


class RunSets:
    """Sets of four runs at their own lambdas, half of them under-trained, and a fine-tune more.

    Slacks are certified, sometimes generously. The other fine-tune is a minimiser at a lambda in
    between, close to a run's or at one; an under-trained one; or any model at all. Losses are the
    gaps: a constant added to a loss changes nothing in T17.
    """

    name = "run-sets"
    chunk = 512

    def cases(self, rng: np.random.Generator, n: int) -> Iterator[Case]:
        """Half of the sets on tables, half on quadratics; one instance is a set of runs."""
        half = -(-n // 2)
        yield from self._of_class(rng, _Tables(rng, half), half, "tables")
        if n > 1:
            problem = _Quadratics(rng, n - half)
            yield from self._of_class(rng, problem, n - half, "quadratics")
            yield _beaten_by_radius(rng, problem.problem, n - half)

    def _of_class(
        self, rng: np.random.Generator, family: Class, n: int, words: str
    ) -> Iterator[Case]:
        lams = 10.0 ** rng.uniform(-2, 2, size=(RUNS, n))
        lams[1] = np.where(rng.random(n) < 0.3, lams[0], lams[1])
        sets: list[list[theorems.Run]] = [[] for _ in range(n)]
        for lam in lams:
            model, slack = _trained(rng, family, lam, exact=0.5)
            found = family.losses(model)
            for i, runs in enumerate(sets):
                runs.append(
                    theorems.Run(found.proxy[i], found.task[i], lam[i], slack=float(slack[i]))
                )
        yield self._mutual(family, sets, lams[0], words)
        # Between two runs, next to one, or at the lambda of one.
        near = lams[rng.integers(RUNS, size=n), np.arange(n)]
        beside = 1.0 + rng.choice([-1.0, 0.0, 1.0], size=n) * 10.0 ** rng.uniform(-4, -1, size=n)
        lam = np.where(rng.random(n) < 0.5, near * beside, 10.0 ** rng.uniform(-2, 2, size=n))
        model, slack = _trained(rng, family, lam, exact=0.5)
        found = family.losses(model)
        bounds = [envelope_bound(sets, found.proxy), *_bracket(sets, lam, slack)]
        yield _case(bounds, found, lam, f"a fine-tune beside {RUNS} runs on {words}")
        anything = family.losses(family.spoil(rng, model, rng.random(n)))
        bounds = [envelope_bound(sets, anything.proxy)]
        yield _case(bounds, anything, lam, f"any model beside {RUNS} runs on {words}")

    def _mutual(
        self, family: Class, sets: Sequence[Sequence[theorems.Run]], lam: Array, words: str
    ) -> Case:
        beaten = np.array([theorems.undertrained(runs)[0] for runs in sets])
        objective = np.array(
            [runs[0].task_loss + runs[0].lam * runs[0].proxy_loss for runs in sets]
        )
        claim = _bound(
            Quantity.WEIGHTED_SUM,
            _UPPER,
            objective - beaten,
            {"objective of the run": objective, "beaten by another run": -beaten},
            "mutual check",
        )
        best = family.losses(family.minimiser(lam))
        return _case([claim], best, lam, f"{RUNS} runs on {words}")


def _trained(
    rng: np.random.Generator, family: Class, lam: Array, *, exact: float
) -> tuple[Array, Array]:
    """Models at ``lam``, a share of them ``exact``, and their certified slacks ``[n]``."""
    n = len(lam)
    best = family.minimiser(lam)
    share = np.where(rng.random(n) < exact, 0.0, 10.0 ** rng.uniform(-4, 0, size=n))
    model = family.spoil(rng, best, share)
    generous = np.where(rng.random(n) < 0.2, rng.uniform(1, 3, size=n), 1.0)
    return model, family.slack(model, best, lam) * generous


def envelope_bound(sets: Sequence[Sequence[theorems.Run]], proxy: Array) -> Bound:
    """T17(a) at the proxy loss of each fine-tune."""
    n = len(sets)
    value, objective, slack, tilt = (np.zeros(n) for _ in range(4))
    for i, runs in enumerate(sets):
        below = theorems.envelope(runs)
        value[i] = below(proxy[i])
        best = int(np.argmax(below.intercept - below.lam * proxy[i]))
        slack[i] = -runs[best].slack
        objective[i] = below.intercept[best] - slack[i]
        tilt[i] = -below.lam[best] * proxy[i]
    terms = {"objective of a run": objective, "its slack": slack, "lambda x proxy loss": tilt}
    return _bound(_CAPABILITY, _LOWER, value, terms, "envelope")


def _bracket(sets: Sequence[Sequence[theorems.Run]], lam: Array, slack: Array) -> list[Bound]:
    """T17(b): both losses of the fine-tune from both sides, and what its own slack adds."""
    limits = ("proxy_loss_lower", "proxy_loss_upper", "task_loss_lower", "task_loss_upper")
    found = {name: np.zeros((2, len(sets))) for name in limits}
    for i, runs in enumerate(sets):
        both = theorems.bracket(runs, lam[i], np.array([slack[i], 0.0]))
        for name in limits:
            found[name][:, i] = getattr(both, name)
    bounds = []
    for name, (value, exact) in found.items():
        known = np.isfinite(value) & np.isfinite(exact)
        terms = {
            "an exact fine-tune": np.where(known, exact, value),
            "its slack": np.where(known, value, 0.0) - np.where(known, exact, 0.0),
        }
        quantity = _PROXY if name.startswith("proxy") else _CAPABILITY
        direction = _UPPER if name.endswith("upper") else _LOWER
        bounds.append(_bound(quantity, direction, value, terms, "bracket"))
    return bounds


def _beaten_by_radius(rng: np.random.Generator, problem: QuadraticProblem, n: int) -> Case:
    """T17(c) for parameter constraints: a larger ball that did worse is under-trained."""
    size = np.maximum(np.linalg.norm(problem.displacement, axis=-1), 1e-3)
    radii = size * 10.0 ** rng.uniform(-2, 0.5, size=(RUNS, n))
    radii[1] = np.where(rng.random(n) < 0.3, radii[0], radii[1])
    reached = []
    for radius in radii:
        best = quadratic.best_step(problem, np.zeros(n), radius)
        share = np.where(rng.random(n) < 0.5, 0.0, rng.random(n))
        reached.append(quadratic.run_at(problem, best * (1 - share)[:, None], Kind.ANY, np.ones(n)))
    losses = np.stack([run.truth[_CAPABILITY] for run in reached])
    beaten = np.array(
        [theorems.undertrained_by_radius(radii[:, i], losses[:, i])[0] for i in range(n)]
    )
    claim = _bound(
        _CAPABILITY,
        _UPPER,
        losses[0] - beaten,
        {"loss of the run": losses[0], "beaten by another run": -beaten},
        "mutual check by radius",
    )
    best = quadratic.best_step(problem, np.zeros(n), radii[0])
    run = quadratic.run_at(problem, best, Kind.MINIMISER, np.ones(n))
    words = f"{RUNS} runs by radius on quadratics"
    return Case(bounds=[claim], runs=[run], n=n, words=words, finetunes=(RUNS + 1) * n)


def _bound(
    quantity: Quantity, direction: Direction, value: Array, terms: dict[str, Array], form: str
) -> Bound:
    return Bound(
        statement="T17",
        quantity=quantity,
        direction=direction,
        value=value,
        status=np.full(value.shape, str(Status.CERTIFIED)),
        form=form,
        terms=terms,
    )


def _case(bounds: list[Bound], found: Losses, lam: Array, words: str) -> Case:
    n = len(lam)
    run = Run(
        kind=Kind.MINIMISER,
        truth={_PROXY: found.proxy, _CAPABILITY: found.task},
        error={_PROXY: found.proxy_error, _CAPABILITY: found.task_error},
        lam=lam,
        checked=np.isfinite(found.proxy) & np.isfinite(found.task),
    )
    return Case(bounds=bounds, runs=[run], n=n, words=words, finetunes=(RUNS + 1) * n)
