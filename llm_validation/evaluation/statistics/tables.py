"""Tables of a comparison in Markdown, CSV and LaTeX."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from finebound.base.text import printable
from llm_validation.evaluation.statistics.cells import Value, csv_cells, csv_text, shown
from llm_validation.evaluation.statistics.comparison import Cell, Comparison
from llm_validation.evaluation.statistics.headline import ALPHA
from theory.confidence import Interval

DAGGER = "\N{DAGGER}"
_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    DAGGER: r"\textdagger{}",
}


@dataclass(frozen=True)
class Table:
    """A titled table; a cell may be an interval, which CSV writes in three columns."""

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Value, ...], ...]

    def markdown(self) -> str:
        """The table in Markdown, with its title as a bold line."""
        lines = [f"**{_markdown(self.title)}**", "", _pipes(map(_markdown, self.columns))]
        lines.append(_pipes("---" for _ in self.columns))
        lines += [_pipes(_markdown(shown(value)) for value in row) for row in self.rows]
        return "\n".join(lines) + "\n"

    def latex(self) -> str:
        """A LaTeX table environment with booktabs rules; the first column is text."""
        columns = "l" + "r" * (len(self.columns) - 1)
        lines = [
            r"\begin{table}",
            rf"\caption{{{_latex(self.title)}}}",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            " & ".join(map(_latex, self.columns)) + r" \\",
            r"\midrule",
            *(" & ".join(_latex(shown(value)) for value in row) + r" \\" for row in self.rows),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
        return "\n".join(lines) + "\n"

    def csv(self) -> str:
        """The table with full precision; an interval's column becomes estimate, lower and upper."""
        wide = [
            any(isinstance(row[place], Interval) for row in self.rows)
            for place in range(len(self.columns))
        ]
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        header: list[str] = []
        for name, is_wide in zip(self.columns, wide, strict=True):
            name = csv_text(name)
            header += [name, f"{name} lower", f"{name} upper"] if is_wide else [name]
        writer.writerow(header)
        for row in self.rows:
            cells: list[object] = []
            for value, is_wide in zip(row, wide, strict=True):
                cells += csv_cells(value, wide=is_wide)
            writer.writerow(cells)
        return stream.getvalue()


FORMATS: dict[str, Callable[[Table], str]] = {
    "md": Table.markdown,
    "csv": Table.csv,
    "tex": Table.latex,
}


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


def _pipes(cells) -> str:
    return f"| {' | '.join(cells)} |"


def _markdown(text: str) -> str:
    return printable(text).replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")


def _latex(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in printable(text).replace("\n", " "))
