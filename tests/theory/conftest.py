"""Random instances and the three checks that every statement has to pass.

A bound must hold on every instance (``assert_valid``), come close on a witness
(``assert_tight``), and the same validity check must notice a bound that is 2 % too good or that
points the other way (``assert_mutant_caught``). Truths come from ``policy_gaps`` (the definition,
in long double) and ``minimise_in_ball`` (scipy's SLSQP), which share no code with the package.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import mpmath
import numpy as np
import pytest
from scipy.optimize import minimize

from theory.bound import Bound, Direction, Status
from theory.problem import Distribution, QuadraticProblem, TabularProblem


def _rows(rng: np.random.Generator, shape: tuple[int, ...], size: int, zeros: tuple[float, ...]):
    """``[*shape, size]`` distributions; concentration and share of zeros vary by instance."""
    per_instance = (shape[0],) + (1,) * (len(shape) - 1)
    concentration = rng.choice([0.1, 1.0, 10.0], size=per_instance)[..., None]
    weights = rng.gamma(concentration, size=(*shape, size)) + 1e-12
    drop = rng.random((*shape, size)) < rng.choice(zeros, size=per_instance)[..., None]
    drop &= np.arange(size) != rng.integers(size, size=(*shape, 1))
    weights[drop] = 0.0
    return weights / weights.sum(axis=-1, keepdims=True)


def _random_tabular(
    rng: np.random.Generator,
    n: int,
    contexts: int = 5,
    responses: int = 4,
    *,
    perfect_proxy: bool = False,
    same_teacher: bool = False,
    aligned: str = "safety",
    positive: bool = False,
) -> TabularProblem:
    """A batch of ``n`` problems ``[n, X, V]``.

    Contexts and targets have zero masses in most instances (never with ``positive``); task
    targets are independent of the safety targets, close to them (1e-1 to 1e-9), equal to them
    or disjoint from them. ``aligned``: "safety" (P_theta_s = mu_s), "near" (full support, close
    to mu_s) or "random" (own zeros).
    """
    none = (0.0,)
    some = none if positive else (0.0, 0.3, 0.7)
    shape = (n, contexts)
    safety_context, proxy_context, task_context = (
        _rows(rng, (n,), contexts, some) for _ in range(3)
    )
    safety = _rows(rng, shape, responses, some)
    proxy = safety if same_teacher else _rows(rng, shape, responses, some)
    task = _rows(rng, shape, responses, some)
    kind = rng.integers(5, size=n)
    near = 10.0 ** -rng.uniform(1, 9, size=(n, 1, 1))
    task = np.where((kind == 0)[:, None, None], (1 - near) * safety + near * task, task)
    task = np.where((kind == 1)[:, None, None], safety, task)
    if responses > 1 and not positive:
        half = np.arange(responses) < responses // 2
        low, high = (
            np.where(side, 1.0, 0.0) * rng.random((*shape, responses)) for side in (half, ~half)
        )
        split = (kind == 2)[:, None, None]
        task = np.where(split, high / high.sum(axis=-1, keepdims=True), task)
        safety = np.where(split, low / low.sum(axis=-1, keepdims=True), safety)
        if same_teacher:
            proxy = safety
    policy = None
    if aligned == "near":
        mix = 10.0 ** -rng.uniform(0, 6, size=(n, 1, 1))
        policy = (1 - mix) * safety + mix * _rows(rng, shape, responses, none)
    elif aligned == "random":
        policy = _rows(rng, shape, responses, some)
    return TabularProblem(
        safety=Distribution(safety_context, safety),
        task=Distribution(task_context, task),
        proxy=None if perfect_proxy else Distribution(proxy_context, proxy),
        aligned=policy,
    )


def _random_quadratic(
    rng: np.random.Generator, n: int, dimension: int = 4, *, full_rank: bool = False
) -> QuadraticProblem:
    """A batch of ``n``: curvatures over six decades, flat directions, small and large d."""

    def matrices() -> np.ndarray:
        q = np.linalg.qr(rng.normal(size=(n, dimension, dimension)))[0]
        spectrum = 10.0 ** rng.uniform(-3, 3, size=(n, dimension))
        if not full_rank:
            flat = rng.random((n, dimension)) < rng.choice([0.0, 0.4], size=(n, 1))
            flat[np.arange(n), rng.integers(dimension, size=n)] = False
            spectrum[flat] = 0.0
        matrix = np.einsum("...ij,...j,...kj->...ik", q, spectrum, q)
        return 0.5 * (matrix + np.swapaxes(matrix, -1, -2))

    scale = 10.0 ** rng.uniform(-3, 2, size=(n, 1))
    theta_s = rng.normal(size=(n, dimension))
    return QuadraticProblem(
        H_s=matrices(),
        H_f=matrices(),
        theta_s=theta_s,
        theta_f=theta_s + scale * rng.normal(size=(n, dimension)),
    )


def _policy_gaps(problem: TabularProblem, policy: np.ndarray) -> tuple[np.ndarray, ...]:
    """``(G_s, G_hat_s, G_f)`` of any policy ``[..., X, V]``, in long double.

    ``- p + q`` sums to 0 and takes the first order of rounding out; what is left is ~1e-19.
    """

    policy = np.asarray(policy, dtype=np.longdouble)

    def gap(distribution: Distribution) -> np.ndarray:
        p = distribution.target.astype(np.longdouble)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            terms = np.where(p > 0, p * np.log(p / policy), 0.0) - p + policy
        per_context = np.where(distribution.context[..., None] > 0, terms, 0.0).sum(axis=-1)
        return np.maximum((distribution.context * per_context).sum(axis=-1), 0.0).astype(float)

    return gap(problem.safety), gap(problem.proxy), gap(problem.task)


def _instance(problem: TabularProblem | QuadraticProblem, index: int):
    """Instance ``index`` of a batched problem."""
    if isinstance(problem, QuadraticProblem):
        return QuadraticProblem(
            problem.H_s[index], problem.H_f[index], problem.theta_s[index], problem.theta_f[index]
        )
    pick = (
        Distribution(d.context[index], d.target[index])
        for d in (problem.safety, problem.task, problem.proxy)
    )
    return TabularProblem(*pick, aligned=problem.aligned[index])


def _minimise_in_ball(
    problem: TabularProblem, radius: float, lam: float = 0.0, *, starts: int = 1
) -> np.ndarray:
    """Policy ``[X, V]`` minimising ``f_f + lam f_hat_s`` over ``|z - log aligned| <= radius``.

    One instance. Entries with aligned probability 0 stay 0. SLSQP on the logits, then pulled
    back into the ball, so the result is always feasible: its objective errs upwards only.
    """
    free = problem.aligned > 0
    weight = problem.task.context[:, None] * problem.task.target
    weight = weight + lam * problem.proxy.context[:, None] * problem.proxy.target
    total = weight.sum(axis=-1)
    slope = (total[:, None] * problem.aligned - weight)[free]
    scale = np.linalg.norm(slope) * radius
    if np.linalg.norm(slope) < 1e-16:  # rounding: the aligned model is the minimiser
        return np.asarray(problem.aligned)

    def move(step: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        shift = np.zeros_like(weight)
        shift[free] = step * radius
        shift -= shift.max(axis=-1, keepdims=True, where=free, initial=-np.inf)
        shift = np.where(free, shift, 0.0)
        growth = (problem.aligned * np.expm1(shift)).sum(axis=-1)
        return problem.aligned * np.exp(shift) / (1.0 + growth)[:, None], (
            total * np.log1p(growth) - (weight * shift).sum(axis=-1)
        )

    def objective(step: np.ndarray) -> tuple[float, np.ndarray]:
        policy, change = move(step)
        gradient = (total[:, None] * policy - weight)[free]
        return change.sum() / scale, gradient * (radius / scale)

    ball = {"type": "ineq", "fun": lambda v: 1.0 - v @ v, "jac": lambda v: -2.0 * v}
    best, best_value = np.zeros(slope.size), 0.0
    for k in range(starts):
        v0 = np.random.default_rng(k).normal(size=slope.size) * (0.01 if k == 0 else 0.5)
        found = minimize(
            objective,
            v0,
            jac=True,
            constraints=[ball],
            method="SLSQP",
            options={"ftol": 1e-16, "maxiter": 300},
        ).x
        found = found / max(1.0, np.linalg.norm(found))
        value = objective(found)[0]
        if value < best_value:
            best, best_value = found, value
    return move(best)[0]


def _violations(bound: Bound, truth: np.ndarray, rtol: float, atol: float) -> np.ndarray:
    value = np.asarray(bound.value, dtype=float)
    truth, value, status = np.broadcast_arrays(np.asarray(truth, dtype=float), value, bound.status)
    assert not np.isnan(value).any(), f"{bound.statement} {bound.form}: NaN bound"
    assert not np.isnan(truth).any(), "NaN truth"
    with np.errstate(invalid="ignore"):
        slack = rtol * np.where(np.isfinite(truth), np.abs(truth), 0.0) + atol
        too_low, too_high = value < truth - slack, value > truth + slack
    too_low, too_high = too_low & (value != truth), too_high & (value != truth)
    wrong = {
        Direction.UPPER: too_low,
        Direction.LOWER: too_high,
        Direction.EQUALITY: too_low | too_high,
    }[bound.direction]
    return wrong & (status != Status.NOT_APPLICABLE)


def _assert_valid(bound: Bound, truth, *, rtol: float = 1e-9, atol: float = 1e-18) -> int:
    """No applicable instance violates the bound; terms add up. Returns how many applied.

    ``atol`` is the rounding of ``policy_gaps``, nats.
    """
    wrong = _violations(bound, truth, rtol, atol)
    if wrong.any():
        where = tuple(np.argwhere(wrong)[0]) if wrong.ndim else ()
        value = np.broadcast_to(bound.value, wrong.shape)[where]
        actual = np.broadcast_to(truth, wrong.shape)[where]
        raise AssertionError(
            f"{bound.statement} ({bound.form}) violated {int(wrong.sum())} times: at {where} the "
            f"{bound.direction} bound on {bound.quantity} is {value:.17g}, the truth {actual:.17g}."
        )
    applied = np.broadcast_to(np.asarray(bound.status) != Status.NOT_APPLICABLE, wrong.shape)
    if bound.terms:
        with np.errstate(invalid="ignore"):
            total = np.broadcast_to(sum(np.asarray(t) for t in bound.terms.values()), wrong.shape)
        value = np.broadcast_to(bound.value, wrong.shape)
        same = np.isclose(total, value, rtol=1e-12, atol=0.0) | (total == value)
        assert (same | ~applied).all(), f"{bound.statement} ({bound.form}): terms do not add up"
    return int(applied.sum())


def _ratio(bound: Bound, truth) -> float:
    """Least bound/truth (upper) or truth/bound (lower) over applicable, positive instances."""
    value, truth, status = np.broadcast_arrays(bound.value, truth, bound.status)
    use = (status != Status.NOT_APPLICABLE) & (value > 0) & (truth > 0)
    use &= np.isfinite(value) & np.isfinite(truth)
    if not use.any():
        return np.inf
    ratio = value[use] / truth[use]
    return float(np.min(1.0 / ratio if bound.direction is Direction.LOWER else ratio))


def _assert_tight(bound: Bound, truth, *, ratio: float = 1.02) -> float:
    """Some instance comes within ``ratio`` of its truth. Returns the best ratio."""
    best = _ratio(bound, truth)
    assert best <= ratio, f"{bound.statement} ({bound.form}): best ratio {best:.4g} > {ratio}"
    return best


def _assert_mutant_caught(bound: Bound, truth, *, factor: float = 0.98, rtol=1e-9, atol=1e-18):
    """``assert_valid`` notices the bound scaled by 2 % and the bound with its direction flipped."""
    assert bound.direction is not Direction.EQUALITY or np.all(np.asarray(truth) != 0)
    scale = 1.0 / factor if bound.direction is Direction.LOWER else factor
    mutants = [dataclasses.replace(bound, value=np.asarray(bound.value) * scale, terms={})]
    if bound.direction is not Direction.EQUALITY:
        flipped = Direction.LOWER if bound.direction is Direction.UPPER else Direction.UPPER
        off = 1.0 / scale
        mutants.append(
            dataclasses.replace(
                bound, direction=flipped, value=np.asarray(bound.value) * off, terms={}
            )
        )
    for mutant in mutants:
        assert _violations(mutant, truth, rtol, atol).any(), f"mutant survived: {mutant}"


def _pick(bounds: list[Bound], form: str = "", **fields) -> Bound:
    """The only bound whose ``form`` contains ``form`` and whose fields have these values."""
    found = [
        b
        for b in bounds
        if form in b.form and all(getattr(b, name) == want for name, want in fields.items())
    ]
    forms = [(b.statement, str(b.quantity), str(b.direction), b.form) for b in bounds]
    assert len(found) == 1, f"{len(found)} bounds match {form!r} {fields}; there are {forms}"
    return found[0]


def _radii(rng: np.random.Generator, n: int) -> np.ndarray:
    return 10.0 ** rng.uniform(-4, 2, size=n)


def _move_in_ball(rng: np.random.Generator, aligned: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """Policies whose logits moved by a random direction, half of them right up to the radius."""
    step = rng.standard_t(2, size=aligned.shape)
    length = np.where(rng.random(len(radius)) < 0.5, 1.0, rng.random(len(radius))) * radius
    step *= (length / np.linalg.norm(step, axis=(-2, -1)))[:, None, None]
    with np.errstate(divide="ignore"):
        logits = np.log(aligned) + step
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


def _coin(aligned: float, task: float, *, safety: float | None = None, share: float = 1.0):
    """One contested context with two answers, probabilities of answer 1; the rest is unshared."""
    safety = aligned if safety is None else safety

    def row(p: float) -> list[float]:
        return [1.0 - p, p]

    return TabularProblem(
        safety=Distribution([share, 1.0 - share, 0.0], [row(safety), row(0.5), row(0.5)]),
        task=Distribution([share, 0.0, 1.0 - share], [row(task), row(0.5), row(0.5)]),
        aligned=[row(aligned), row(0.5), row(0.5)],
    )


def _moved_coin(aligned: float, radius: float, towards: float) -> np.ndarray:
    """The coin after moving its two logits apart by sqrt(2) radius: all that a radius allows."""
    shift = np.sign(towards - aligned) * radius / np.sqrt(2.0)
    logits = np.array([np.log(1.0 - aligned) - shift, np.log(aligned) + shift])
    weights = np.exp(logits - logits.max())
    return np.array([weights / weights.sum(), [0.5, 0.5], [0.5, 0.5]])


def _quadratic_truth(
    problem: QuadraticProblem, index: int, radius: float, lam: float = 0.0
) -> tuple[float, float, float]:
    """``(G_s, G_f, |theta - theta_s|)`` of ``min f_f + lam f_s`` in the ball, in 40 digits."""
    with mpmath.workdps(40):
        lam, radius = mpmath.mpf(float(lam)), mpmath.mpf(float(radius))
        task = mpmath.matrix(problem.H_f[index].tolist())
        safety = mpmath.matrix(problem.H_s[index].tolist())
        d = mpmath.matrix(problem.theta_f[index].tolist()) - mpmath.matrix(
            problem.theta_s[index].tolist()
        )
        curvature, basis = mpmath.eigsy(task + lam * safety)
        pull = basis.T * (task * d)
        largest = max(abs(c) for c in curvature)
        n = len(curvature)
        usable = [i for i in range(n) if curvature[i] > largest * mpmath.mpf("1e-14")]

        def step(nu):
            return mpmath.matrix(
                [pull[i] / (curvature[i] + nu) if i in usable else 0 for i in range(n)]
            )

        low, high = mpmath.mpf(0), mpmath.norm(pull) / radius
        if mpmath.norm(step(0)) > radius:
            for _ in range(120):
                middle = (low + high) / 2
                low, high = (middle, high) if mpmath.norm(step(middle)) > radius else (low, middle)
        else:
            high = mpmath.mpf(0)
        x = basis * step(high)
        left = d - x
        half = mpmath.mpf(1) / 2
        return (
            float(half * (x.T * safety * x)[0]),
            float(half * (left.T * task * left)[0]),
            float(mpmath.norm(x)),
        )


def _case_one_policy(problem: TabularProblem, lam: np.ndarray) -> np.ndarray:
    """The mixture of T3, context by context, from its definition."""
    task = problem.task.context[..., None] * problem.task.target
    proxy = lam[:, None, None] * problem.proxy.context[..., None] * problem.proxy.target
    total = (task + proxy).sum(axis=-1, keepdims=True)
    return np.where(total > 0, (task + proxy) / np.where(total > 0, total, 1.0), problem.aligned)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20250320)


@pytest.fixture
def random_tabular() -> Callable[..., TabularProblem]:
    return _random_tabular


@pytest.fixture
def random_quadratic() -> Callable[..., QuadraticProblem]:
    return _random_quadratic


@pytest.fixture
def policy_gaps() -> Callable:
    return _policy_gaps


@pytest.fixture
def instance() -> Callable:
    return _instance


@pytest.fixture
def minimise_in_ball() -> Callable:
    return _minimise_in_ball


@pytest.fixture
def assert_valid() -> Callable[..., int]:
    return _assert_valid


@pytest.fixture
def assert_tight() -> Callable[..., float]:
    return _assert_tight


@pytest.fixture
def assert_mutant_caught() -> Callable[..., None]:
    return _assert_mutant_caught


@pytest.fixture
def pick() -> Callable[..., Bound]:
    return _pick


@pytest.fixture
def radii() -> Callable:
    return _radii


@pytest.fixture
def move_in_ball() -> Callable:
    return _move_in_ball


@pytest.fixture
def coin() -> Callable:
    return _coin


@pytest.fixture
def moved_coin() -> Callable:
    return _moved_coin


@pytest.fixture
def quadratic_truth() -> Callable:
    return _quadratic_truth


@pytest.fixture
def case_one_policy() -> Callable:
    return _case_one_policy
