"""The audit: every statement against every family, and mutants that must not survive it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from finebound.progress import Progress, silent
from finebound.records import spawn_seed
from sims.families.price import Price
from sims.families.quadratic import Quadratic
from sims.families.tabular import Tabular
from sims.family import Family, Kind, Run
from sims.mutants import mutants_of
from theory.bound import Bound, Direction, Quantity, Status
from theory.divergence import Array
from theory.evaluation import evaluate
from theory.problem import Problem
from theory.strategy import Strategy

FAMILIES: tuple[Family, ...] = (Tabular(), Price(), Quadratic())

# Instances a chunk: what is in memory at once, and the shape that JAX compiles.
CHUNK = 2048
# Few instances may not include one that refutes each mutant: then more are drawn, up to these.
EXTRA_CHUNKS = 16
# Bounds are float64 formulas of well under 10^4 roundings each.
_RELATIVE = 1e4 * np.finfo(np.float64).eps
_EPS = np.finfo(np.float64).eps


@dataclass
class Mutant:
    """A deliberately wrong statement, and the first instance that refuted it (None: survived)."""

    name: str
    caught_by: dict[str, object] | None = None


@dataclass
class Row:
    """What the audit found for one statement; ``max_ratio`` is truth / bound (or its inverse).

    ``worst`` locates the instance that came closest, ``broken`` the first violations.
    """

    instances: int = 0
    comparisons: int = 0
    violations: int = 0
    max_ratio: float = 0.0
    worst: dict[str, object] | None = None
    broken: list[dict[str, object]] = field(default_factory=list)
    mutants: dict[str, Mutant] = field(default_factory=dict)

    @property
    def caught(self) -> int:
        return sum(mutant.caught_by is not None for mutant in self.mutants.values())

    def as_json(self) -> dict[str, object]:
        """The contract's keys, and what a person needs to look at an instance again."""
        return {
            "instances": self.instances,
            "violations": self.violations,
            "max_ratio": self.max_ratio,
            "mutants": len(self.mutants),
            "mutants_caught": self.caught,
            "comparisons": self.comparisons,
            "worst": self.worst,
            "broken": self.broken,
            "caught_by": {m.name: m.caught_by for m in self.mutants.values()},
        }


def passed(rows: Mapping[str, Row]) -> bool:
    """No violation, and no mutant survived."""
    return all(row.violations == 0 and row.caught == len(row.mutants) for row in rows.values())


def audit(
    families: Sequence[Family],
    instances: int,
    *,
    seed: int,
    chunk: int = CHUNK,
    progress: Progress = silent,
) -> dict[str, Row]:
    """At least ``instances`` problems of each family, every strategy, every statement.

    A small audit goes on for up to ``EXTRA_CHUNKS`` chunks a family while a mutant survives.
    Chunk ``k`` of a family is drawn from its own seed, so an instance is found again from what
    ``Row.worst`` says. Raises ValueError for ``instances < 1``.
    """
    if instances < 1:
        raise ValueError(f"an audit needs at least 1 instance, not {instances}.")
    rows: dict[str, Row] = {}
    jobs = [
        (family, k, min(chunk, instances - k * chunk))
        for family in families
        for k in range(-(-instances // chunk))
    ]
    for family, k, size in progress(jobs, "auditing every statement"):
        _audit_chunk(rows, family, k, size, seed)
    done = -(-instances // chunk)
    for k in range(done, EXTRA_CHUNKS):
        if all(row.caught == len(row.mutants) for row in rows.values()):
            break
        for family in families:
            _audit_chunk(rows, family, k, chunk, seed)
    return {name: rows[name] for name in sorted(rows, key=lambda name: int(name[1:]))}


def _audit_chunk(rows: dict[str, Row], family: Family, k: int, size: int, seed: int) -> None:
    rng = np.random.default_rng(spawn_seed(seed, f"{family.name}:{k}"))
    problem = family.draw(rng, size)
    for strategy in family.strategies(rng, problem):
        bounds = evaluate(problem, strategy)
        touched: dict[str, np.ndarray] = {}
        for run in family.runs(rng, problem, strategy):
            for b in bounds:
                if not _holds_for(b, run, family.name) or not np.any(b.applies):
                    continue
                where = {
                    "family": family.name,
                    "chunk": k,
                    "strategy": _words(strategy),
                    "run": str(run.kind),
                    "quantity": str(b.quantity),
                    "form": b.form,
                }
                check = _Check(b, run, strategy, size, problem)
                row = rows.setdefault(b.statement, Row())
                _judge(row, check, where)
                known = touched.setdefault(b.statement, np.zeros(size, dtype=bool))
                known |= check.used
        for statement, used in touched.items():
            rows[statement].instances += int(used.sum())


def _words(strategy: Strategy) -> str:
    given = " and ".join(name for name, value in vars(strategy).items() if value is not None)
    return f"{type(strategy).__name__} by {given}"


def _holds_for(b: Bound, run: Run, family: str) -> bool:
    """Whether this run meets the assumptions of the bound."""
    if run.forms or b.scope != "instance":
        return b.form in run.forms
    if run.kind is Kind.MINIMISER:
        return True
    if b.statement == "T10" or (b.statement == "T3" and "any policy" in b.form):
        return True
    if run.kind is Kind.ANY:
        return False
    upper = b.direction is Direction.UPPER
    return (
        (b.statement == "T6" and upper)
        or (b.statement == "T7" and not upper)
        # On quadratics T8(c) is about the minimiser, whose safety gap it uses.
        or (b.statement == "T8" and ("(b)" in b.form or ("(c)" in b.form and family == "tabular")))
        or (b.statement == "T9" and "without data" in b.form)
    )


class _Check:
    """One bound against one run: where it applies, the truth and its tolerance, ``[n]`` each."""

    def __init__(self, b: Bound, run: Run, strategy: Strategy, n: int, problem: Problem) -> None:
        self.bound, self.run = b, run
        self.value = np.broadcast_to(np.asarray(b.value, dtype=np.float64), (n,))
        applies = np.broadcast_to(np.asarray(b.status) != Status.NOT_APPLICABLE, (n,))
        truth, error = _truth(b, run, strategy)
        if b.statement == "T1":
            error = error + _rounding_of_value_gap(problem, run)
        if run.conditioning and _is_closed_form(b):
            error = error + _of_quantity(b, run, strategy, run.conditioning)
        with np.errstate(invalid="ignore"):
            sizes = sum((np.abs(np.asarray(t)) for t in b.terms.values()), np.abs(self.value))
        sizes = np.broadcast_to(np.where(np.isfinite(sizes), sizes, 0.0), (n,))
        relative = _RELATIVE + run.precision
        self.tolerance = relative * (np.where(np.isfinite(truth), truth, 0.0) + sizes) + error
        self.truth = truth
        # The truth of a minimum known to within delta lies between these two.
        slack = run.slack if run.kind is Kind.MINIMISER else 0.0
        self.low, self.high = truth - slack, truth
        self.used = applies & run.checked
        if np.isnan(truth[self.used]).any() or np.isnan(self.value[self.used]).any():
            raise FloatingPointError(f"{b.statement} ({b.form}): a truth or a bound is NaN")

    def excess(self, value: Array, direction: Direction, claimed: np.ndarray) -> Array:
        """Where ``claimed``, how far the truth refutes ``value`` beyond the tolerance (> 0)."""
        with np.errstate(invalid="ignore"):
            too_low = np.where(self.low == value, -np.inf, self.low - value)
            too_high = np.where(self.high == value, -np.inf, value - self.high)
        parts = {
            Direction.UPPER: too_low,
            Direction.LOWER: too_high,
            Direction.EQUALITY: np.maximum(too_low, too_high),
        }
        return np.where(claimed, parts[direction] - self.tolerance, -np.inf)

    def ratios(self) -> Array:
        """Truth / bound (upper), bound / truth (lower), both for an equality; errors excluded."""
        with np.errstate(divide="ignore", invalid="ignore"):
            upper = np.maximum(self.low - self.tolerance, 0.0) / self.value
            lower = self.value / (self.high + self.tolerance)
        kinds = {
            Direction.UPPER: upper,
            Direction.LOWER: lower,
            Direction.EQUALITY: np.maximum(upper, lower),
        }
        ratio = kinds[self.bound.direction]
        usable = self.used & np.isfinite(ratio) & np.isfinite(self.value) & (self.value > 0)
        return np.where(usable, ratio, 0.0)


def _truth(b: Bound, run: Run, strategy: Strategy) -> tuple[Array, Array]:
    safety, capability = Quantity.SAFETY_GAP, Quantity.CAPABILITY_GAP
    if b.quantity is Quantity.SQRT_SUM:
        # sqrt(g + e) - sqrt(g) <= min(sqrt e, e / (2 sqrt g)).
        pairs = [(run.truth[q], run.error[q]) for q in (safety, capability)]
        with np.errstate(divide="ignore", invalid="ignore"):
            errors = [np.minimum(np.sqrt(e), e / np.sqrt(g)) for g, e in pairs]
        errors = [np.where(np.isnan(e), 0.0, e) for e in errors]
        return sum(np.sqrt(g) for g, _ in pairs), sum(errors)
    truth, error = (_of_quantity(b, run, strategy, known) for known in (run.truth, run.error))
    return truth, error


def _rounding_of_value_gap(problem: Problem, run: Run) -> Array:
    """T1 divides a difference of gaps by lambda; rows that sum to 1 up to rounding enter both."""
    start = np.asarray(problem.capability_gap_at_aligned)
    rows = getattr(problem, "responses", 0)
    sizes = 4.0 * np.where(np.isfinite(start), start, 0.0) + 2.0 * rows
    with np.errstate(divide="ignore", over="ignore"):
        lost = _EPS * (sizes / run.lam + 2.0 * rows)
    return np.where(np.isfinite(lost), lost, 0.0)


def _is_closed_form(b: Bound) -> bool:
    """Whether the value is the minimiser's own, and so as exact as its float64 solution."""
    return b.direction is Direction.EQUALITY or (
        b.statement == "T10" and b.quantity is Quantity.WEIGHTED_SUM
    )


def _of_quantity(b: Bound, run: Run, strategy: Strategy, known: dict[Quantity, Array]) -> Array:
    """The bound's quantity out of ``known``; a weighted sum of gaps, or of their errors."""
    if b.quantity is not Quantity.WEIGHTED_SUM:
        return known[b.quantity]
    lam, which = run.lam, Quantity.PROXY_SAFETY_GAP
    if b.statement == "T10":  # about the true safety gap, with lambda = 1 where there is none
        given = getattr(strategy, "lam", None)
        lam, which = np.asarray(1.0 if given is None else given), Quantity.SAFETY_GAP
    usable = np.isfinite(lam) & (known[which] > 0)
    weighted = np.where(usable, lam, 0.0) * np.where(usable, known[which], 0.0)
    return known[Quantity.CAPABILITY_GAP] + weighted


def _judge(row: Row, check: _Check, where: dict[str, object]) -> None:
    b = check.bound
    row.comparisons += int(check.used.sum())
    wrong = check.excess(check.value, b.direction, check.used) > 0
    if wrong.any():
        row.violations += int(wrong.sum())
        if len(row.broken) < 5:
            row.broken.append(_instance(check, where, int(np.argmax(wrong))))
    ratios = check.ratios()
    closest = int(np.argmax(ratios))
    if ratios[closest] > row.max_ratio:
        row.max_ratio = float(ratios[closest])
        row.worst = _instance(check, where, closest)
    for wrong_one in mutants_of(b, str(where["family"])):
        key = f"{wrong_one.name}: {b.quantity} {b.direction} ({b.form})"
        mutant = row.mutants.setdefault(key, Mutant(key))
        if mutant.caught_by is None:
            value = np.broadcast_to(wrong_one.value(), check.value.shape)
            claimed = check.run.checked if wrong_one.everywhere else check.used
            refuted = check.excess(value, wrong_one.direction, claimed) > 0
            if refuted.any():
                mutant.caught_by = _instance(check, where, int(np.argmax(refuted)))


def _instance(check: _Check, where: dict[str, object], index: int) -> dict[str, object]:
    return {
        **where,
        "index": index,
        "bound": float(check.value[index]),
        "truth": float(check.truth[index]),
    }
