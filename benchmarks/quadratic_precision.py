"""Every number of random ill-conditioned quadratic problems against 100-digit arithmetic.

``python -m benchmarks.quadratic_precision [PROBLEMS] [SEED]`` (default 2000 and 0): bounds that
the truth violates and digits of EXACT values that are wrong, both of which should be 0; how many
gaps no digit was given for. The oracle shares no code with ``theory``: eigendecompositions and
solves of mpmath on the numbers as they stand in the problem. A matrix that rounding has made
slightly indefinite stands for the semi-definite product that it was rounded from.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import mpmath
import numpy as np
from mpmath import mpf

from finebound.base.output import number
from theory.bound import Quantity
from theory.evaluation import evaluate
from theory.exact import exact
from theory.problem import QuadraticProblem
from theory.strategy import Hybrid, LossConstraint, ParameterConstraint, Strategy

DIGITS = 100
# Below this share of the largest an eigenvalue is 0: those of these problems reach 1e-45 at most.
_ZERO = mpf("1e-65")
_HALVINGS = 260
LARGEST = 12


@dataclass(frozen=True)
class Case:
    """A problem with its Hessians in 100 digits."""

    problem: QuadraticProblem
    safety: mpmath.matrix
    task: mpmath.matrix
    d: mpmath.matrix


def _hessian(rng: np.random.Generator, n: int) -> tuple[np.ndarray, mpmath.matrix]:
    """A Hessian of condition number up to 1e12, regular or singular, and what it stands for."""
    scale = 10.0 ** rng.uniform(-6, 6)
    kind = rng.choice(["spread", "whole", "diagonal", "product"], p=[0.4, 0.25, 0.15, 0.2])
    spectrum = 10.0 ** (-rng.uniform(0, 12) * rng.random(n))
    if kind == "spread":
        basis = np.linalg.qr(rng.normal(size=(n, n)))[0]
        matrix = scale * (basis * spectrum) @ basis.T
        matrix = 0.5 * (matrix + matrix.T)
        return matrix, mpmath.matrix(matrix.tolist())
    if kind == "diagonal":
        matrix = np.diag(scale * spectrum * (rng.random(n) < 0.8))
        return matrix, mpmath.matrix(matrix.tolist())
    factor = rng.integers(-9, 10, size=(n, rng.integers(1, n + 1))).astype(float)
    if kind == "whole":
        matrix = 2.0 ** np.round(np.log2(scale)) * factor @ factor.T
        return matrix, mpmath.matrix(matrix.tolist())
    factor = np.sqrt(scale) * factor * rng.normal(size=factor.shape)
    matrix = factor @ factor.T
    matrix = 0.5 * (matrix + matrix.T)
    written = mpmath.matrix(matrix.tolist())
    least = min(mpmath.eigsy(written, eigvals_only=True))
    if least >= -_ZERO * abs(written[0, 0]):
        return matrix, written
    meant = mpmath.matrix(factor.tolist())
    return matrix, meant * meant.T


def random_case(rng: np.random.Generator) -> Case:
    """One to twelve coordinates, optima from 1e-6 to 1e6 apart."""
    n = int(rng.integers(1, LARGEST + 1))
    (safety, exact_safety), (task, exact_task) = _hessian(rng, n), _hessian(rng, n)
    theta_s = rng.normal(size=n) * 10.0 ** rng.uniform(-6, 6)
    theta_f = theta_s + rng.normal(size=n) * 10.0 ** rng.uniform(-6, 6)
    d = mpmath.matrix(theta_f.tolist()) - mpmath.matrix(theta_s.tolist())
    problem = QuadraticProblem(safety, task, theta_s, theta_f)
    return Case(problem, exact_safety, exact_task, d)


def random_strategy(rng: np.random.Generator, case: Case) -> Strategy:
    """Every kind; multipliers over sixteen decades about balance, radii over ten."""
    balance = np.abs(case.problem.H_f).max() / max(np.abs(case.problem.H_s).max(), 1e-300)
    lam = float(np.clip(balance, 1e-12, 1e12) * 10.0 ** rng.uniform(-8, 8))
    radius = float(np.linalg.norm(case.problem.displacement) * 10.0 ** rng.uniform(-8, 2))
    match rng.integers(4):
        case 0:
            return LossConstraint(lam=lam)
        case 1:
            reached = float(_gaps(case, _penalised(case, mpf(lam)))[0])
            epsilon = reached * (1.0, 1e6, 0.0)[rng.choice(3, p=[0.8, 0.1, 0.1])]
            return LossConstraint(epsilon=epsilon)
        case 2:
            return ParameterConstraint(max(radius, 1e-300))
    return Hybrid(lam=lam, radius=max(radius, 1e-300))


def _form(matrix: mpmath.matrix, vector: mpmath.matrix) -> mpf:
    return (vector.T * matrix * vector)[0] / 2


def _gaps(case: Case, step: mpmath.matrix) -> tuple[mpf, mpf]:
    left = case.d - step
    return tuple(
        gap if gap > _ZERO**2 * max(abs(v) for v in matrix) * _square(case.d) else mpf(0)
        for gap, matrix in (
            (_form(case.safety, step), case.safety),
            (_form(case.task, left), case.task),
        )
    )


def _square(vector: mpmath.matrix) -> mpf:
    return (vector.T * vector)[0]


def _live(values: list[mpf]) -> list[bool]:
    largest = max(abs(v) for v in values)
    return [v > _ZERO * largest for v in values]


def _penalised(case: Case, lam: mpf, radius: mpf | None = None) -> mpmath.matrix:
    """The least-norm minimiser of ``f_f + lam f_s``, within the radius."""
    curvature, basis = mpmath.eigsy(case.task + lam * case.safety)
    pull = basis.T * (case.task * case.d)
    live = _live(list(curvature))

    def step(nu: mpf) -> mpmath.matrix:
        return mpmath.matrix(
            [pull[i] / (curvature[i] + nu) if live[i] else mpf(0) for i in range(len(pull))]
        )

    nu = mpf(0)
    if radius is not None and mpmath.norm(step(nu)) > radius:
        high = mpmath.norm(pull) / radius
        low = high
        while mpmath.norm(step(low)) <= radius:
            low /= 2**20
        for _ in range(_HALVINGS):
            middle = mpmath.sqrt(low * high)
            low, high = (middle, high) if mpmath.norm(step(middle)) > radius else (low, middle)
        nu = high
    return basis * step(nu)


def _constrained(case: Case, epsilon: mpf) -> tuple[mpf, mpf]:
    """The gaps where ``f_f`` is least at ``G_s <= epsilon``, in the basis of both Hessians."""
    sizes = [max(abs(v) for v in m) or mpf(1) for m in (case.safety, case.task)]
    total, vectors = mpmath.eigsy(case.safety / sizes[0] + case.task / sizes[1])
    live = [i for i, lives in enumerate(_live(list(total))) if lives]
    if not live:
        return mpf(0), mpf(0)
    n = len(total)
    white = mpmath.matrix(n, len(live))
    back = mpmath.matrix(n, len(live))
    for k, i in enumerate(live):
        root = mpmath.sqrt(total[i])
        for row in range(n):
            white[row, k] = vectors[row, i] / root
            back[row, k] = vectors[row, i] * root
    share, turn = mpmath.eigsy(white.T * case.task * white / sizes[1])
    at = turn.T * (back.T * case.d)
    # Shares of both Hessians add up to 1.
    task = [sizes[1] * v if v > _ZERO else mpf(0) for v in share]
    safety = [sizes[0] * (1 - v) if 1 - v > _ZERO else mpf(0) for v in share]
    rows = list(zip(task, safety, at, strict=True))

    def gaps(lam: mpf) -> tuple[mpf, mpf]:
        inside = [(f, s, x, f + lam * s) for f, s, x in rows if f + lam * s > 0]
        return (
            sum((s * (f * x / t) ** 2 for f, s, x, t in inside), mpf(0)) / 2,
            sum((f * (lam * s * x / t) ** 2 for f, s, x, t in inside), mpf(0)) / 2,
        )

    loosest = sum((s * x**2 for f, s, x in rows if f > 0), mpf(0)) / 2
    if loosest <= epsilon:
        return loosest, mpf(0)
    if epsilon == 0:
        return mpf(0), sum((f * x**2 for f, s, x in rows if s > 0), mpf(0)) / 2
    low, high = mpf(10) ** -200, mpf(10) ** 200
    for _ in range(2 * _HALVINGS):
        middle = mpmath.sqrt(low * high)
        low, high = (middle, high) if gaps(middle)[0] > epsilon else (low, middle)
    return epsilon, gaps(high)[1]


def truths(case: Case, strategy: Strategy) -> dict[Quantity, mpf]:
    """The quantities that bounds speak of, at the minimiser nearest to theta_s."""
    lam = mpf(0) if isinstance(strategy, ParameterConstraint) else strategy.lam
    radius = getattr(strategy, "radius", None)
    found = {}
    if lam is None:
        safety, capability = _constrained(case, mpf(strategy.epsilon))
    else:
        step = _penalised(case, mpf(lam), None if radius is None else mpf(radius))
        safety, capability = _gaps(case, step)
        found[Quantity.RADIUS] = mpmath.norm(step)
    weight = mpf(lam) if lam else mpf(1)
    return found | {
        Quantity.SAFETY_GAP: safety,
        Quantity.PROXY_SAFETY_GAP: safety,
        Quantity.CAPABILITY_GAP: capability,
        Quantity.SAFETY_LOSS_INCREASE: safety,
        Quantity.WEIGHTED_SUM: capability + weight * safety,
        Quantity.SQRT_SUM: mpmath.sqrt(capability) + mpmath.sqrt(safety),
    }


@dataclass
class Found:
    """What a run of problems came to."""

    problems: int = 0
    bounds: int = 0
    values: int = 0
    unresolved: int = 0
    faults: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)


def _half_unit(printed: str) -> mpf:
    """Half a unit of the last digit printed."""
    mantissa, _, exponent = printed.partition("e")
    decimals = len(mantissa.partition(".")[2])
    if decimals == 0:
        digits = mantissa.lstrip("-")
        decimals = -(len(digits) - len(digits.rstrip("0"))) if digits.strip("0") else 0
    return mpf(10) ** (int(exponent or 0) - decimals) / 2


def faults(case: Case, strategy: Strategy, found: Found) -> Iterator[str]:
    """Violated bounds and wrong digits of one problem, in words."""
    truth = truths(case, strategy)
    with np.errstate(all="ignore"):
        solution, bounds = exact(case.problem, strategy), evaluate(case.problem, strategy)
    for b in bounds:
        if b.status == "NOT_APPLICABLE" or b.quantity not in truth or not np.isfinite(b.value):
            continue
        found.bounds += 1
        value, fact = mpf(b.value), truth[b.quantity]
        good = {
            "upper": value >= fact,
            "lower": value <= fact,
            "equality": abs(value - fact) <= mpf(b.error) * (1 + mpf("1e-12")),
        }[str(b.direction)]
        if not good:
            yield (
                f"{b.statement} ({b.form}) {b.quantity} {b.direction} {b.value!r}, "
                f"truth {mpmath.nstr(fact, 20)}, error {b.error:.3g}"
            )
    for name, gap, fact in (
        ("safety_gap", solution.gaps.safety, truth[Quantity.SAFETY_GAP]),
        ("capability_gap", solution.gaps.capability, truth[Quantity.CAPABILITY_GAP]),
    ):
        if not mpf(float(gap.lower)) <= fact <= mpf(float(gap.upper)):
            yield f"{name} not in [{gap.lower!r}, {gap.upper!r}], truth {mpmath.nstr(fact, 20)}"
        if not gap.resolved:
            found.unresolved += 1
            found.told.append(f"{name} {gap.in_words()}, truth {mpmath.nstr(fact, 6)}")
            continue
        found.values += 1
        printed = number(float(gap.value), float(gap.error))
        printed, _, error = printed.partition(" +- ")
        allowed = mpf(error) + _half_unit(error) if error else _half_unit(printed)
        wrong = abs(mpf(printed) - fact) > allowed
        if wrong and (fact > mpf("1e-300") or gap.value > 0):
            yield f"{name} printed {printed}, truth {mpmath.nstr(fact, 20)}"
    spread = solution.gaps.safety_range
    if not spread.lower <= float(solution.safety_gap) <= spread.upper:
        yield "the safety gap is outside its own range"


def check(problems: int, seed: int) -> Found:
    """``problems`` random problems, each with one random strategy."""
    found = Found()
    with mpmath.workdps(DIGITS):
        for k in range(problems):
            rng = np.random.default_rng([seed, k])
            case = random_case(rng)
            strategy = random_strategy(rng, case)
            found.problems += 1
            found.faults += [f"problem {k}: {told}" for told in faults(case, strategy, found)]
    return found


def main() -> None:
    problems, seed = (int(v) for v in (sys.argv[1:] + ["2000", "0"][len(sys.argv) - 1 :]))
    start = time.perf_counter()
    found = check(problems, seed)
    for told in found.faults[:50]:
        print(told)
    print(f"{found.problems} problems, {found.bounds} bounds, {found.values} EXACT gaps")
    print(f"faults      {len(found.faults):8d}  (target: 0)")
    print(f"unresolved  {found.unresolved:8d}  gaps without a digit that holds")
    print(f"seconds     {time.perf_counter() - start:8.1f}")


if __name__ == "__main__":
    main()
