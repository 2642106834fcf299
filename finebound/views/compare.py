"""Methods compared item by item, as tables, as a figure and for a terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import fmean

from matplotlib.figure import Figure

from finebound.results.behaviour import SCORES
from finebound.results.compare import ComparedCell, CompareResult, MethodComparison
from finebound.results.interval import Interval
from finebound.views.style import BLUE, INK, MUTED, new_figure, paper_style
from finebound.views.tables import DAGGER, Table, Value


def table(result: CompareResult) -> Table:
    """Every method of every comparison: its mean, its difference to the base, its test."""
    rows = []
    for comparison in result.comparisons:
        names = _names(comparison)
        for method in comparison.methods:
            test = comparison.test(method.label) if method.change is not None else None
            decided = {None: "", True: "yes", False: "no"}[method.decided]
            p = None if test is None else test.p_adjusted
            own = (names[method.label], method.n, method.score, method.change, p, decided)
            rows.append((comparison.title, *own))
    columns = ("evaluation", "method", "items", "mean", "difference", "p (Bonferroni)", "decided")
    return Table("compare", "Differences to the base (95 % intervals)", columns, tuple(rows))


def plot(result: CompareResult) -> Figure:
    """The difference of every method to its base, a panel for each comparison."""
    count = max(len(result.comparisons), 1)
    with paper_style():
        height = sum(0.9 + 0.24 * len(c.methods) for c in result.comparisons)
        figure = new_figure(height=max(height, 1.0))
        for axes, comparison in zip(
            figure.subplots(count, squeeze=False).flat, result.comparisons, strict=False
        ):
            others = [(m, m.change) for m in comparison.methods if m.change is not None]
            for place, (method, change) in enumerate(others):
                colour = BLUE if method.decided else MUTED
                axes.plot([change.lower, change.upper], [place, place], color=colour)
                axes.plot(change.estimate, place, "o", color=colour, ms=5)
            names = _names(comparison)
            axes.axvline(0.0, color=INK, lw=0.7)
            axes.set_yticks(range(len(others)), [names[m.label] for m, _ in others])
            axes.invert_yaxis()
            axes.set_title(f"{comparison.title}: difference to {names[comparison.base]}")
    return figure


def tables(comparison: MethodComparison, *, gates: bool = True) -> list[Table]:
    """Scores and differences to the base by category, the tests, BBQ's biases beside the base's.

    ``gates``: whether the labels name the gates that their runs failed.
    """
    what, title = comparison.title.replace(", ", "_"), comparison.title
    others = [m for m in comparison.methods if m.label != comparison.base]
    names = _names(comparison, gates=gates)
    flagged = [m for m in comparison.methods if m.failed_gates]
    note = f"; {DAGGER}: behind a failed gate" if flagged else ""
    note += ", in no test" if any(not m.tested for m in flagged) else ""
    found = [
        _by_category(
            Table(
                f"{what}_scores",
                f"{title}: {comparison.score_means or 'mean score'} "
                f"({comparison.items} items, 95 % intervals){note}",
                ("category", *names.values()),
                (),
            ),
            comparison,
            [m.label for m in comparison.methods],
            lambda cell: cell.score,
        ),
        _by_category(
            Table(
                f"{what}_differences",
                f"{title}: difference to {names[comparison.base]} (95 % intervals){note}",
                ("category", *(names[m.label] for m in others)),
                (),
            ),
            comparison,
            [m.label for m in others],
            lambda cell: cell.change,
        ),
    ]
    columns = ("first", "second", "n", "different", "median", "W", "p", "p (Bonferroni)")
    found.append(
        Table(
            f"{what}_pairs",
            f"{title}: Wilcoxon signed-rank tests of every pair",
            (*columns, "z", "r", "effect"),
            tuple(
                (names[p.first], names[p.second], p.n, p.n_nonzero, p.median, p.statistic,
                 p.p_value, p.p_adjusted, p.z, p.effect, p.band if p.decided else "undecided")
                for p in comparison.pairs
            ),
        )
    )  # fmt: skip
    return [*found, *_together(comparison, what), *_biases(comparison, what, names)]


def for_a_terminal(comparison: MethodComparison) -> list[tuple[Table, int]]:
    """The tables without names of gates, and how many rows more the files have of each.

    Of pairs those with the base, of biases those that turned and their means.
    """
    base = _names(comparison, gates=False)[comparison.base]
    found = []
    for full in tables(comparison, gates=False):
        rows = full.rows
        if full.name.endswith("_pairs"):
            rows = tuple(row for row in rows if base in row[:2])
        elif full.name.endswith("_bias"):
            rows = tuple(row for row in rows if row[-1] or str(row[0]).startswith("mean"))
        found.append((replace(full, rows=rows), len(full.rows) - len(rows)))
    return found


def _names(comparison: MethodComparison, *, gates: bool = True) -> dict[str, str]:
    """Each label for people: with a dagger behind a failed gate, and with which ``gates``."""
    return {
        m.label: m.label
        + (f" {DAGGER}" if m.failed_gates else "")
        + (f" ({', '.join(m.failed_gates)})" if m.failed_gates and gates else "")
        for m in comparison.methods
    }


def _together(comparison: MethodComparison, what: str) -> list[Table]:
    """The tests of all methods together; none where there is none."""
    methods = sum(method.tested for method in comparison.methods)
    rows: list[tuple[Value, ...]] = []
    if (f := comparison.friedman) is not None:
        rows.append(("Friedman", methods, f.n, f.statistic, f.p_value, f.kendall_w))
    if (n := comparison.normality) is not None:
        rows.append(("Shapiro-Wilk", methods, n.n, n.statistic, n.p_value, None))
    columns = ("test", "methods", "values", "statistic", "p", "Kendall's W")
    told = f"{comparison.title}: all tested methods together"
    return [Table(f"{what}_tests", told, columns, tuple(rows))] if rows else []


def _biases(comparison: MethodComparison, what: str, names: dict[str, str]) -> list[Table]:
    """Every bias beside the base's, and each method's mean absolute one."""
    changes = comparison.bias_changes
    if not changes:
        return []
    score = SCORES[comparison.condition or changes[0].condition]
    base = names[comparison.base]
    turned = {(True, True): "beyond noise", (True, False): "within noise"}
    rows: list[tuple[Value, ...]] = []
    for label in dict.fromkeys(change.label for change in changes):
        mine = [change for change in changes if change.label == label]
        rows += [
            (c.category, names[label], c.base, c.now, turned.get((c.flipped, c.certain), ""))
            for c in mine
        ]
        before = fmean(abs(c.base.estimate) for c in mine)
        after = fmean(abs(c.now.estimate) for c in mine)
        rows.append((f"mean |{score}|", names[label], before, after, ""))
    columns = ("category", "method", f"{score} of {base}", score, "sign flip")
    told = f"{comparison.title}: {score} beside that of {base} (95 % intervals), and where its "
    return [Table(f"{what}_bias", f"{told}sign turned", columns, tuple(rows))]


def _by_category(
    empty: Table,
    comparison: MethodComparison,
    labels: Sequence[str],
    value: Callable[[ComparedCell], Interval | None],
) -> Table:
    chosen = [m for m in comparison.methods if m.label in labels]
    names = dict.fromkeys(name for m in chosen for name in m.categories)
    rows: list[tuple[Value, ...]] = [
        (name, *(value(m.categories[name]) if name in m.categories else None for m in chosen))
        for name in names
    ]
    rows.append(("all", *(value(m) for m in chosen)))
    return replace(empty, rows=tuple(rows))
