"""Tabular softmax policies: the true gaps from their definition, in long double."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache

import numpy as np

from sims.families.draws import LAMBDAS, tables
from sims.families.trust_region import minimise_in_ball, moved
from sims.family import ClosedForm, Kind, Run
from theory.bound import Quantity
from theory.divergence import Array
from theory.problem import Distribution, TabularProblem
from theory.strategy import Hybrid, LossConstraint, ParameterConstraint, Strategy

# Rounding of a sum of at most 100 non-negative long-double terms of size 1.
_ERROR = 1e-17
# Below it the inverse construction of epsilon is dominated by that rounding.
_LEAST_EPSILON = 1e-7
_STEP = 1e-3


class Tabular(ClosedForm[TabularProblem]):
    """Softmax tables ``[n, X, V]``; Case I in closed form, Case II and hybrids by a solver.

    The gaps of any policy follow from the definition ``sum rho KL(mu || P)``. A minimiser of
    Case I is the mixture proportional to ``rho_f mu_f + lam rho_hat_s mu_hat_s``. In a ball the
    minimiser comes from projected gradients, with a Frank-Wolfe duality gap as its certified slack.
    """

    name = "tabular"

    def draw(self, rng: np.random.Generator, n: int) -> TabularProblem:
        """``n`` tables of one of a few sizes: sparse, near, equal, disjoint and tight ones."""
        return tables(rng, n)

    def strategies(self, rng: np.random.Generator, problem: TabularProblem) -> Iterator[Strategy]:
        """Case I by lambda and by epsilon, Case II and the hybrid."""
        (n,) = problem.batch_shape
        lam = _lambdas(rng, n)
        radius = 10.0 ** rng.uniform(-4, 1.2, size=n)
        yield LossConstraint(lam=lam)
        yield LossConstraint(epsilon=_epsilons(rng, problem, lam))
        yield ParameterConstraint(radius)
        yield Hybrid(lam=lam, radius=radius)

    def truths(self, problem: TabularProblem, strategy: Strategy) -> dict[Quantity, Array]:
        """Gaps of the minimiser, nats; in a ball up to the solver's slack."""
        return _minimiser(problem, strategy).truth

    def runs(
        self, rng: np.random.Generator, problem: TabularProblem, strategy: Strategy
    ) -> Iterator[Run]:
        """The minimiser; a move within the radius; a policy between the targets."""
        yield _minimiser(problem, strategy)
        lam = np.ones(problem.batch_shape) * _weight(strategy)
        if isinstance(strategy, LossConstraint):
            yield _run(problem, _between(rng, problem), Kind.ANY, lam)
        else:
            moved = _pushed(rng, problem, np.asarray(strategy.radius))
            yield _run(problem, moved, Kind.IN_BALL, lam)


def _lambdas(rng: np.random.Generator, n: int) -> Array:
    spread = 10.0 ** rng.uniform(-4, 4, size=n)
    return np.where(rng.random(n) < 0.5, spread, rng.choice(LAMBDAS, size=n))


def _weight(strategy: Strategy) -> Array | float:
    given = None if isinstance(strategy, ParameterConstraint) else strategy.lam
    return 1.0 if given is None else given


def _epsilons(rng: np.random.Generator, problem: TabularProblem, lam: Array) -> Array:
    """Mostly the proxy gap that ``lam`` leaves; also 0, and more than the constraint needs."""
    reached = gap(problem.proxy, case_one_policy(problem, lam))
    unconstrained = gap(problem.proxy, case_one_policy(problem, 0.0 * lam))
    kind = rng.choice(3, size=lam.shape, p=[0.8, 0.1, 0.1])
    loose = np.where(np.isfinite(unconstrained), 2.0 * unconstrained + 1e-3, 0.0)
    return np.choose(kind, [reached, np.zeros_like(lam), loose])


def case_one_policy(problem: TabularProblem, lam: Array) -> Array:
    """The minimiser of ``f_f + lam f_hat_s`` ``[n, X, V]``, long double; ``lam`` 0 and inf too.

    At ``lam = 0`` and ``inf`` it is the limit: ties go to the only data left on a context.
    """
    task_mass = problem.task.context[..., None].astype(np.longdouble)
    proxy_mass = problem.proxy.context[..., None].astype(np.longdouble)
    both = (task_mass > 0) & (proxy_mass > 0)
    infinite = np.isinf(lam)[:, None, None]
    task_mass = np.where(both & infinite, 0.0, task_mass)
    weight = np.where(np.isinf(lam), 1.0, lam)[:, None, None].astype(np.longdouble)
    proxy_mass = np.where((weight == 0) & ~both, proxy_mass, weight * proxy_mass)
    total = task_mass + proxy_mass
    mixed = task_mass * problem.task.target + proxy_mass * problem.proxy.target
    return np.where(total > 0, mixed / np.where(total > 0, total, 1.0), problem.aligned)


def gaps(problem: TabularProblem, policy: Array) -> dict[Quantity, Array]:
    """The three gaps ``[n]`` of any policy ``[n, X, V]`` from their definition, nats."""
    return {
        Quantity.SAFETY_GAP: gap(problem.safety, policy),
        Quantity.PROXY_SAFETY_GAP: gap(problem.proxy, policy),
        Quantity.CAPABILITY_GAP: gap(problem.task, policy),
    }


def gap(distribution: Distribution, policy: Array) -> Array:
    """``sum rho KL(mu || P)``, ``[n]`` nats, in long double.

    Each summand ``p log(p / q) - p + q`` is at least 0 and ``q - p`` sums to 0, which takes the
    first order of the rounding out.
    """
    p, q = distribution.target.astype(np.longdouble), np.asarray(policy, dtype=np.longdouble)
    mass = distribution.context.astype(np.longdouble)
    used = p > 0
    with np.errstate(divide="ignore", invalid="ignore"):
        log_ratio = np.log(np.where(used, p, 1.0) / np.where(used, q, 1.0))
        terms = np.where(used, p * log_ratio, 0.0) - p + q
        shares = np.where(mass > 0, mass * terms.sum(axis=-1), 0.0)
    return np.maximum(shares.sum(axis=-1), 0.0).astype(np.float64)


def _logit_distance(problem: TabularProblem, policy: Array) -> Array:
    """``|z - z_s|`` of centred logits; inf where a probability becomes or stops being 0."""
    start, end = problem.aligned.astype(np.longdouble), np.asarray(policy, np.longdouble)
    alive = (start > 0) & (end > 0)
    lost = ((start > 0) != (end > 0)).any(axis=(-2, -1))
    change = np.where(alive, np.log(np.where(alive, end, 1.0)), 0.0)
    change = change - np.where(alive, np.log(np.where(alive, start, 1.0)), 0.0)
    count = np.maximum(alive.sum(axis=-1, keepdims=True), 1)
    centred = np.where(alive, change - change.sum(axis=-1, keepdims=True) / count, 0.0)
    return np.where(lost, np.inf, np.sqrt((centred**2).sum(axis=(-2, -1)))).astype(np.float64)


@lru_cache(maxsize=2)
def _gaps_before(problem: TabularProblem) -> tuple[Array, Array]:
    """Safety and proxy gap of the aligned model: every run of a problem asks for them."""
    return gap(problem.safety, problem.aligned), gap(problem.proxy, problem.aligned)


def _run(
    problem: TabularProblem,
    policy: np.ndarray,
    kind: Kind,
    lam: Array,
    *,
    slack: Array | float = 0.0,
    checked: np.ndarray | bool = True,
    precision: Array | float = 0.0,
) -> Run:
    shape = problem.batch_shape
    truth = gaps(problem, policy)
    before, proxy_before = _gaps_before(problem)
    with np.errstate(invalid="ignore"):
        rise = truth[Quantity.SAFETY_GAP] - before
    truth[Quantity.SAFETY_LOSS_INCREASE] = np.where(np.isfinite(before), rise, 0.0)
    truth[Quantity.RADIUS] = _logit_distance(problem, policy)
    error = dict.fromkeys(truth, np.full(shape, _ERROR))
    # A difference of gaps inherits the rounding of each, and rows sum to 1 only up to rounding,
    # which is of first order here.
    eps = np.finfo(np.float64).eps
    sizes = (before, proxy_before, truth[Quantity.SAFETY_GAP])
    rounding = 4.0 * eps * sum(np.where(np.isfinite(size), size, 0.0) for size in sizes)
    inherited = precision * np.where(np.isfinite(sizes[2]), sizes[2], 0.0)
    rows = 2.0 * problem.responses * eps
    error[Quantity.SAFETY_LOSS_INCREASE] = _ERROR + rows + rounding + inherited
    # Probabilities are rounded to 2^-53 of themselves, logits to as much absolutely.
    error[Quantity.RADIUS] = np.full(shape, 1e-14)
    return Run(
        kind=kind,
        truth=truth,
        error=error,
        lam=np.broadcast_to(lam, shape),
        slack=np.broadcast_to(slack, shape),
        checked=np.broadcast_to(checked, shape),
        precision=np.broadcast_to(precision, shape),
    )


def _minimiser(problem: TabularProblem, strategy: Strategy) -> Run:
    if isinstance(strategy, LossConstraint):
        if strategy.lam is not None:
            lam = np.ones(problem.batch_shape) * strategy.lam
            return _run(problem, case_one_policy(problem, lam), Kind.MINIMISER, lam)
        return _constrained(problem, np.asarray(strategy.epsilon))
    lam = strategy.lam if isinstance(strategy, Hybrid) else 0.0
    policy, slack = minimise_in_ball(problem, lam=lam, radius=strategy.radius)
    return _run(problem, policy, Kind.MINIMISER, np.asarray(_weight(strategy)), slack=slack)


def _constrained(problem: TabularProblem, epsilon: Array) -> Run:
    """``min f_f`` subject to ``G_hat_s <= epsilon``: the mixture whose proxy gap is epsilon."""
    epsilon = np.broadcast_to(epsilon, problem.batch_shape)

    reached = _contested_proxy_gap(problem)
    free = reached(np.zeros_like(epsilon))
    low, high = np.full(epsilon.shape, -40.0), np.full(epsilon.shape, 40.0)
    for _ in range(56):
        middle = 0.5 * (low + high)
        fits = reached(np.exp(middle)) <= epsilon
        low, high = np.where(fits, low, middle), np.where(fits, middle, high)
    lam = np.where(free <= epsilon, 0.0, np.where(epsilon == 0, np.inf, np.exp(high)))
    inner = (lam > 0) & np.isfinite(lam)
    # d log(lam) = d epsilon / |d G_hat_s / d log(lam)|, with epsilon rounded and the gap in error.
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = (reached(lam * (1.0 - _STEP)) - reached(lam * (1.0 + _STEP))) / (2.0 * _STEP)
        precision = np.where(inner, 8.0 * (_ERROR + 2e-16 * epsilon) / slope, 0.0)
    known = ~inner | (
        (epsilon > _LEAST_EPSILON) & (np.abs(high) < 39.0) & (precision >= 0) & (precision < 1e-6)
    )
    # Where agreement holds up to rounding, slack and tight constraints cannot be told apart.
    known &= (free > _LEAST_EPSILON) | (free == 0) | (epsilon > 2.0 * free)
    return _run(
        problem,
        case_one_policy(problem, lam),
        Kind.MINIMISER,
        lam,
        checked=known,
        precision=np.where(known, precision, 0.0),
    )


def _contested_proxy_gap(problem: TabularProblem) -> Callable[[Array], Array]:
    """``G_hat_s(P_lam) [n]`` as a function of ``lam [n]``: only contested contexts contribute."""
    instance, context = np.nonzero((problem.task.context > 0) & (problem.proxy.context > 0))
    task, proxy = (
        (d.context[instance, context, None].astype(np.longdouble), d.target[instance, context])
        for d in (problem.task, problem.proxy)
    )
    pull = task[0] * task[1]
    p, used = proxy[1].astype(np.longdouble), proxy[1] > 0

    def reached(lam: Array) -> Array:
        weight = lam[instance, None] * proxy[0]
        q = (pull + weight * p) / (task[0] + weight)
        with np.errstate(divide="ignore", invalid="ignore"):
            log_ratio = np.log(np.where(used, p, 1.0) / np.where(used, q, 1.0))
            terms = np.where(used, p * log_ratio, 0.0) - p + q
        total = np.zeros(len(lam), dtype=np.longdouble)
        np.add.at(total, instance, proxy[0][:, 0] * terms.sum(axis=-1))
        return np.maximum(total, 0.0).astype(np.float64)

    return reached


def _between(rng: np.random.Generator, problem: TabularProblem) -> np.ndarray:
    """Policies on the way from the task's to the safety targets, or far from both."""
    n, contexts, responses = problem.safety.target.shape
    t = rng.random((n, contexts, 1)) ** rng.choice([0.3, 1.0, 3.0], size=(n, 1, 1))
    t = np.where(rng.random((n, 1, 1)) < 0.3, 0.5, t)
    straight = t * problem.task.target + (1 - t) * problem.safety.target
    far = rng.dirichlet(np.ones(responses), size=(n, contexts))
    return np.where(rng.random((n, 1, 1)) < 0.8, straight, far).astype(np.longdouble)


def _pushed(rng: np.random.Generator, problem: TabularProblem, radius: Array) -> Array:
    """Logits moved by up to the radius: up the safety loss, down the task loss, or at random."""
    aligned = problem.aligned
    away = problem.safety.context[..., None] * (aligned - problem.safety.target)
    toward = problem.task.context[..., None] * (problem.task.target - aligned)
    random = rng.standard_t(2, size=aligned.shape)
    kind = rng.integers(3, size=(len(aligned), 1, 1))
    step = np.where(aligned > 0, np.choose(kind, [away, toward, random]), 0.0)
    size = np.sqrt((step**2).sum(axis=(-2, -1)))
    share = np.where(rng.random(size.shape) < 0.7, 1.0, rng.random(size.shape))
    # A hair inside, so that rounding does not leave the ball.
    factor = np.where(size > 1e-150, share * radius * (1 - 1e-14) / np.maximum(size, 1e-150), 0.0)
    return moved(aligned, factor[:, None, None] * step)
