"""Methods compared item by item: means, differences to a base, tests, biases that turned."""

from __future__ import annotations

import math
import re
from typing import ClassVar

from finebound.results.budget import BudgetCheck
from finebound.results.interval import Interval
from finebound.results.result import Known, Manifest, Number, Part, Result

ALPHA = 0.05
Ends = tuple[Known, Known]


def _interval(estimate: float | None, ends: Ends) -> Interval:
    return Interval(*(math.nan if value is None else value for value in (estimate, *ends)))


class ComparedCell(Part):
    """The mean score of ``n`` items, and its difference to the base's; none for the base itself."""

    n: int
    mean: Known
    interval: Ends
    difference: Known = None
    difference_interval: Ends | None = None

    @property
    def score(self) -> Interval:
        return _interval(self.mean, self.interval)

    @property
    def change(self) -> Interval | None:
        """The difference to the base, NaN where no item is paired; None for the base."""
        ends = self.difference_interval
        return None if ends is None else _interval(self.difference, ends)


class _Label(Part):
    label: str
    seeds: int
    failed: int
    failed_gates: tuple[str, ...]
    tested: bool
    decided: bool | None


class ComparedMethod(ComparedCell, _Label):
    """One label: how many ``seeds`` (records) it has, how many scores ``failed``, its means.

    Its own cell is over the items that every tested method has, ``categories`` over those of a
    category. A method behind ``failed_gates`` is shown, and not ``tested`` unless asked for.
    ``decided``: whether its difference to the base is beyond chance; None for the base and for
    what is not tested.
    """

    categories: dict[str, ComparedCell]


class SignedRank(Part):
    """Wilcoxon's signed-rank test of paired differences ``first - second``.

    ``n`` pairs, ``n_nonzero`` of them different; ``statistic`` the smaller rank sum; ``z`` its
    normal approximation and ``effect`` r = |z| / sqrt(n_nonzero), ``band`` its name.
    ``p_adjusted`` is ``p_value`` times the number of tests in its family (Bonferroni), at most 1.
    """

    first: str
    second: str
    n: int
    n_nonzero: int
    median: Number
    statistic: Number
    p_value: Number
    p_adjusted: Number
    z: Number
    effect: Number
    band: str

    @property
    def decided(self) -> bool:
        return self.p_adjusted < ALPHA


class Friedman(Part):
    """Friedman's test of ``k`` methods over ``n`` blocks, and Kendall's W in [0, 1]."""

    n: int
    k: int
    statistic: Number
    p_value: Number
    kendall_w: Number


class Normality(Part):
    """Shapiro-Wilk's test; ``p_value`` small: not normal."""

    n: int
    statistic: Number
    p_value: Number


class BiasChange(Part):
    """The bias of a category in one condition, in the base and in another model.

    ``flipped``: the two estimates have opposite signs. ``certain``: neither interval holds 0, so
    the flip is more than noise around 0.
    """

    category: str
    condition: str
    label: str
    base_bias: Known
    base_interval: Ends
    bias: Known
    interval: Ends
    flipped: bool
    certain: bool

    @property
    def base(self) -> Interval:
        return _interval(self.base_bias, self.base_interval)

    @property
    def now(self) -> Interval:
        return _interval(self.bias, self.interval)


class MethodComparison(Part):
    """Methods on the same items of one evaluation; the tests are over items, averaged over seeds.

    ``condition`` is which of the evaluation's items these are: BBQ's in one context condition, all
    for None. ``pairs`` are Wilcoxon's tests of every pair with Bonferroni's correction,
    ``friedman`` is there for three methods or more, ``normality`` is of the first pair's
    differences or, with three, of every score about its item's mean. ``headline`` says what is
    decided beside the base, ``undecided`` what is not, a sentence for each method.
    """

    evaluation: str
    condition: str | None
    score_means: str
    base: str
    items: int
    unpaired_items: int
    level: float
    methods: tuple[ComparedMethod, ...]
    normality: Normality | None
    friedman: Friedman | None
    pairs: tuple[SignedRank, ...]
    headline: str
    undecided: tuple[str, ...]
    notes: tuple[str, ...]
    bias_changes: tuple[BiasChange, ...] = ()

    @property
    def title(self) -> str:
        return ", ".join(filter(None, (self.evaluation, self.condition)))

    def test(self, label: str) -> SignedRank | None:
        """The test of a method beside the base, None where there is none."""
        both = {label, self.base}
        return next((pair for pair in self.pairs if {pair.first, pair.second} == both), None)

    @property
    def words(self) -> list[str]:
        """What is decided and what is not, what has no score or no pair, and the notes."""
        decided = re.split(r"(?<= items\.) ", self.headline)
        lines = [*filter(None, decided), *self.undecided]
        lines += [
            f"{method.label}: {method.failed} items have no score (failed or unreadable)"
            for method in self.methods
            if method.failed
        ]
        if self.unpaired_items:
            lines.append(f"{self.unpaired_items} items are not in every method and were left out")
        return [*lines, *self.notes]


class CompareResult(Result):
    """What ``finebound compare`` finds: one comparison for each evaluation, of BBQ two.

    ``budgets`` are what became of those that were given: one for each method but the base.
    """

    kind: ClassVar[str] = "compare"
    file: ClassVar[str] = "compare.json"

    comparisons: tuple[MethodComparison, ...]
    manifest: Manifest
    budgets: tuple[BudgetCheck, ...] = ()

    def summary(self) -> str:
        """What each comparison decides and what it leaves open, then the budgets."""
        lines = [f"{c.title}: {line}" for c in self.comparisons for line in c.words]
        return "\n".join(lines + [f"budget {check.said}" for check in self.budgets])
