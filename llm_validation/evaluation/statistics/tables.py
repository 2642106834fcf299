"""The tables of a comparison."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from finebound.results.interval import Interval
from finebound.views.tables import DAGGER, Table, Value
from llm_validation.evaluation.statistics.comparison import Cell, Comparison
from llm_validation.evaluation.statistics.headline import ALPHA


def shown_labels(comparison: Comparison, *, gates: bool = True) -> dict[str, str]:
    """Each label for people: with a dagger behind a failed gate, and with which ``gates``."""
    return {
        m.label: m.label
        + (f" {DAGGER}" if m.failed_gates else "")
        + (f" ({', '.join(m.failed_gates)})" if m.failed_gates and gates else "")
        for m in comparison.methods
    }


def name_and_title(comparison: Comparison) -> tuple[str, str]:
    """What the comparison's tables are called: in a file's name and in a title."""
    parts = [comparison.evaluation, *filter(None, [comparison.condition])]
    return "_".join(parts), ", ".join(parts)


def tables_of(comparison: Comparison, *, gates: bool = True) -> list[Table]:
    """Scores and differences to the base by category, the tests of pairs and of all together.

    ``gates``: whether the labels name the gates that their runs failed.
    """
    what, title = name_and_title(comparison)
    others = [m for m in comparison.methods if m.label != comparison.base]
    names = shown_labels(comparison, gates=gates)
    flagged = [m for m in comparison.methods if m.failed_gates]
    note = f"; {DAGGER}: behind a failed gate" if flagged else ""
    note += ", in no test" if any(not m.tested for m in flagged) else ""
    tables = [
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
            lambda cell: cell.mean,
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
            lambda cell: cell.difference,
        ),
    ]
    columns = ("first", "second", "n", "different", "median", "W", "p", "p (Bonferroni)")
    tables.append(
        Table(
            f"{what}_pairs",
            f"{title}: Wilcoxon signed-rank tests of every pair",
            (*columns, "z", "r", "effect"),
            tuple(
                (names[p.first], names[p.second], p.n, p.n_nonzero, p.median, p.statistic,
                 p.p_value, p.p_adjusted, p.z, p.effect,
                 p.band if p.p_adjusted < ALPHA else "undecided")
                for p in comparison.pairs
            ),
        )
    )  # fmt: skip
    return [*tables, *_together(comparison, what, title)]


def _together(comparison: Comparison, what: str, title: str) -> list[Table]:
    """The tests of all methods together; none where there is none."""
    methods = sum(method.tested for method in comparison.methods)
    rows: list[tuple[Value, ...]] = []
    if (o := comparison.omnibus) is not None:
        rows.append(("Friedman", methods, o.n, o.statistic, o.p_value, o.kendall_w))
    if (n := comparison.normality) is not None:
        rows.append(("Shapiro-Wilk", methods, n.n, n.statistic, n.p_value, None))
    columns = ("test", "methods", "values", "statistic", "p", "Kendall's W")
    told = f"{title}: all tested methods together"
    return [Table(f"{what}_tests", told, columns, tuple(rows))] if rows else []


def _by_category(
    empty: Table,
    comparison: Comparison,
    labels: Sequence[str],
    value: Callable[[Cell], Interval | None],
) -> Table:
    chosen = [m for m in comparison.methods if m.label in labels]
    names = dict.fromkeys(name for m in chosen for name in m.categories)
    rows: list[tuple[Value, ...]] = [
        (name, *(value(m.categories[name]) if name in m.categories else None for m in chosen))
        for name in names
    ]
    rows.append(("all", *(value(m.overall) for m in chosen)))
    return Table(empty.name, empty.title, empty.columns, tuple(rows))
