"""One bound against one run: the truth, its derived tolerance, and what refutes what."""

from __future__ import annotations

import numpy as np

from sims.family import Case, Kind, Run
from sims.mutants import mutants_of
from sims.rows import Instance, Mutant, StatementAudit, Tightness
from theory.bound import Bound, Direction, Quantity, Status
from theory.divergence import Array
from theory.landscape import IN_BALL
from theory.problem import TabularProblem

_EPS = np.finfo(np.float64).eps
# Bounds are float64 formulas of well under 10^4 roundings each.
_RELATIVE = 1e4 * _EPS


def holds_for(b: Bound, run: Run, case: Case) -> bool:
    """Whether this run meets the assumptions of the bound.

    A minimiser meets all. A bound whose form says "any policy" holds for each, one that assumes
    first of all to be within the radius for each point of the ball.
    """
    if run.forms or b.scope != "instance":
        return b.form in run.forms
    if run.kind is Kind.MINIMISER:
        return True
    if b.statement == "T10" or "any policy" in b.form:
        return True
    if run.kind is Kind.ANY or b.assumptions[:1] != (IN_BALL,):
        return False
    # On quadratics T8(c) is about the minimiser, whose safety gap it uses.
    return b.statement != "T8" or "(c)" not in b.form or isinstance(case.problem, TabularProblem)


class Check:
    """One bound against one run: where it applies, the truth and its tolerance, ``[n]`` each."""

    def __init__(self, b: Bound, run: Run, case: Case) -> None:
        n = case.n
        self.bound, self.run = b, run
        self.value = np.broadcast_to(np.asarray(b.value, dtype=np.float64), (n,))
        applies = np.broadcast_to(np.asarray(b.status) != Status.NOT_APPLICABLE, (n,))
        truth, error = _truth(b, run, case)
        if b.statement == "T1":
            error = error + _rounding_of_value_gap(case, run)
        if run.conditioning and b.direction is Direction.EQUALITY:
            # The minimiser's own value is as exact as its float64 solution.
            error = error + _of_quantity(b, run, case, run.conditioning)
        with np.errstate(invalid="ignore"):
            sizes = sum((np.abs(np.asarray(t)) for t in b.terms.values()), np.abs(self.value))
        sizes = np.broadcast_to(np.where(np.isfinite(sizes), sizes, 0.0), (n,))
        relative = _RELATIVE + run.precision
        self.tolerance = relative * (np.where(np.isfinite(truth), truth, 0.0) + sizes) + error
        self.truth = np.broadcast_to(truth, (n,))
        # The truth of a minimum known to within delta lies between these two.
        slack = run.slack if run.kind is Kind.MINIMISER else 0.0
        self.low, self.high = self.truth - slack, self.truth
        self.used = applies & run.checked
        if np.isnan(self.truth[self.used]).any() or np.isnan(self.value[self.used]).any():
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
        """Truth / bound (upper), bound / truth (lower), both for an equality; errors excluded.

        NaN where there is no finite, positive bound to compare with.
        """
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            upper = np.maximum(self.low - self.tolerance, 0.0) / self.value
            lower = self.value / (self.high + self.tolerance)
        kinds = {
            Direction.UPPER: upper,
            Direction.LOWER: lower,
            Direction.EQUALITY: np.maximum(upper, lower),
        }
        ratio = kinds[self.bound.direction]
        usable = self.used & np.isfinite(ratio) & np.isfinite(self.value) & (self.value > 0)
        return np.where(usable, ratio, np.nan)


def _truth(b: Bound, run: Run, case: Case) -> tuple[Array, Array]:
    safety, capability = Quantity.SAFETY_GAP, Quantity.CAPABILITY_GAP
    if b.quantity is Quantity.SQRT_SUM:
        # sqrt(g + e) - sqrt(g) <= min(sqrt e, e / (2 sqrt g)).
        pairs = [(run.truth[q], run.error[q]) for q in (safety, capability)]
        with np.errstate(divide="ignore", invalid="ignore"):
            errors = [np.minimum(np.sqrt(e), e / np.sqrt(g)) for g, e in pairs]
        errors = [np.where(np.isnan(e), 0.0, e) for e in errors]
        return np.sqrt(pairs[0][0]) + np.sqrt(pairs[1][0]), errors[0] + errors[1]
    truth, error = (_of_quantity(b, run, case, known) for known in (run.truth, run.error))
    return truth, error


def _rounding_of_value_gap(case: Case, run: Run) -> Array | float:
    """T1 divides a difference of gaps by lambda; rows that sum to 1 up to rounding enter both."""
    gap = getattr(case.problem, "capability_gap_at_aligned", None)
    if gap is None:
        return 0.0
    start = np.asarray(gap)
    rows = getattr(case.problem, "responses", 0)
    sizes = 4.0 * np.where(np.isfinite(start), start, 0.0) + 2.0 * rows
    with np.errstate(divide="ignore", over="ignore"):
        lost = _EPS * (sizes / run.lam + 2.0 * rows)
    return np.where(np.isfinite(lost), lost, 0.0)


def _of_quantity(b: Bound, run: Run, case: Case, known: dict[Quantity, Array]) -> Array:
    """The bound's quantity out of ``known``; a weighted sum of gaps, or of their errors."""
    if b.quantity is not Quantity.WEIGHTED_SUM:
        return known[b.quantity]
    lam, which = run.lam, Quantity.PROXY_SAFETY_GAP
    if " G_s" in b.form:  # the true safety gap, with lambda = 1 where there is none
        given = getattr(case.strategy, "lam", None)
        lam, which = np.asarray(1.0 if given is None else given), Quantity.SAFETY_GAP
    usable = np.isfinite(lam) & (known[which] > 0)
    weighted = np.where(usable, lam, 0.0) * np.where(usable, known[which], 0.0)
    return known[Quantity.CAPABILITY_GAP] + weighted


def judge(
    row: StatementAudit,
    check: Check,
    case: Case,
    where: Instance,
    caught: frozenset[tuple[str, str]],
) -> None:
    """Enter one comparison into the row; mutants that are ``caught`` already are left alone."""
    b, family = check.bound, str(where["family"])
    row.comparisons += int(check.used.sum())
    wrong = check.excess(check.value, b.direction, check.used) > 0
    if wrong.any():
        row.violated(_instance(check, where, int(np.argmax(wrong))), int(wrong.sum()))
    ratios = check.ratios()
    usable = ~np.isnan(ratios)
    if usable.any():
        closest = int(np.nanargmax(ratios))
        if ratios[closest] > row.max_ratio:
            row.max_ratio = float(ratios[closest])
            row.worst = _instance(check, where, closest)
        key = (family, str(b.quantity), str(b.direction), b.form)
        row.tightness.setdefault(key, Tightness()).add(ratios[usable])
    if not case.mutants:
        return
    for wrong_one in (*mutants_of(b, family), *case.wrongs.get(b.form, ())):
        key = f"{wrong_one.name}: {b.quantity} {b.direction} ({b.form})"
        if (b.statement, key) in caught:
            continue
        mutant = row.mutants.setdefault(key, Mutant(key))
        mutant.families.add(family)
        if mutant.caught_by is None:
            value = np.broadcast_to(wrong_one.value(), check.value.shape)
            claimed = check.run.checked if wrong_one.everywhere else check.used
            refuted = check.excess(value, wrong_one.direction, claimed) > 0
            if refuted.any():
                mutant.caught_by = _instance(check, where, int(np.argmax(refuted)))


def _instance(check: Check, where: Instance, index: int) -> Instance:
    return {
        **where,
        "index": index,
        "bound": float(check.value[index]),
        "truth": float(check.truth[index]),
    }
