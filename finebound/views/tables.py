"""One table for every purpose: terminal, Markdown, LaTeX, CSV, HTML and a frame."""

from __future__ import annotations

import csv
import html
import io
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from finebound.base.text import printable
from finebound.results.interval import Interval, Value, shown

if TYPE_CHECKING:
    from rich.table import Table as RichTable

DAGGER = "\N{DAGGER}"
_FORMULA = ("=", "+", "-", "@", "\t")
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

    def spread(self) -> tuple[list[str], list[list[object]]]:
        """Columns and rows of plain values; a column of intervals becomes three."""
        wide = [
            any(isinstance(row[place], Interval) for row in self.rows)
            for place in range(len(self.columns))
        ]
        columns: list[str] = []
        for name, is_wide in zip(self.columns, wide, strict=True):
            columns += [name, f"{name} lower", f"{name} upper"] if is_wide else [name]
        rows: list[list[object]] = []
        for row in self.rows:
            cells: list[object] = []
            for value, is_wide in zip(row, wide, strict=True):
                if isinstance(value, Interval):
                    cells += [value.estimate, value.lower, value.upper]
                else:
                    cells += [value, None, None] if is_wide else [value]
            rows.append(cells)
        return columns, rows

    def csv(self) -> str:
        """The table with full precision; an interval's column becomes estimate, lower and upper."""
        columns, rows = self.spread()
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(map(csv_text, columns))
        writer.writerows([_exact(value) for value in row] for row in rows)
        return stream.getvalue()

    def html(self) -> str:
        """An HTML table, every text escaped, the title as its caption."""

        def cells(tag: str, texts: Iterable[str]) -> str:
            return "".join(f"<{tag}>{html.escape(printable(text))}</{tag}>" for text in texts)

        body = "".join(f"<tr>{cells('td', map(shown, row))}</tr>" for row in self.rows)
        return (
            f"<table><caption>{html.escape(printable(self.title))}</caption>"
            f"<thead><tr>{cells('th', self.columns)}</tr></thead><tbody>{body}</tbody></table>"
        )

    def rich(self) -> RichTable:
        """The table for a terminal; columns of numbers stand to the right."""
        from rich.box import SIMPLE
        from rich.table import Table as RichTable
        from rich.text import Text

        drawn = RichTable(
            title=Text(self.title), title_justify="left", header_style="bold", box=SIMPLE
        )
        for place, column in enumerate(self.columns):
            # Folded, as rich would cut what a narrow terminal has no room for.
            numeric = all(_is_number(row[place]) for row in self.rows)
            justify = "right" if numeric else "left"
            drawn.add_column(Text(column), justify=justify, overflow="fold")
        for row in self.rows:
            drawn.add_row(*(Text(shown(value)) for value in row))
        return drawn


FORMATS: dict[str, Callable[[Table], str]] = {
    "md": Table.markdown,
    "csv": Table.csv,
    "tex": Table.latex,
}


def csv_text(text: str) -> str:
    """Text that a spreadsheet shows and does not compute: a leading = + - @ is quoted.

    Source: OWASP, "CSV injection".
    """
    plain = printable(text).replace("\n", " ")
    return f"'{plain}" if plain.lstrip(" ").startswith(_FORMULA) else plain


def _is_number(value: Value) -> bool:
    if not isinstance(value, str):
        return True
    try:
        float(value.replace("+-", ""))
    except ValueError:
        return not value
    return True


def _exact(value: object) -> object:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    if isinstance(value, str):
        return csv_text(value)
    return repr(value) if isinstance(value, float) else value


def _pipes(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _markdown(text: str) -> str:
    return printable(text).replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")


def _latex(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in printable(text).replace("\n", " "))
