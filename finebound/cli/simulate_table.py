"""What an audit found, as tables a person can read in 80 columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from sims.rows import StatementAudit
    from sims.violated import Outcome


def print_audit(
    rows: Mapping[str, StatementAudit], broken: Sequence[Outcome], found: Mapping[str, float]
) -> None:
    """The rows, what violated assumptions do, the adversary's finds, and what went wrong."""
    from finebound.base.terminal import Console

    console = Console()
    console.print(_statements(rows))
    console.print("closest, median: of truth / bound (bound / truth of a lower bound)")
    console.print("mutants: wrong versions of the statement that some instance refuted")
    console.print()
    console.print(_assumptions(broken))
    console.print("broken: share of instances beyond the bound; worst: the largest truth / bound")
    if found:
        low, high = min(found, key=found.__getitem__), max(found, key=found.__getitem__)
        console.print(
            f"\nAdversarial search: the highest truth / bound found for {len(found)} forms that "
            f"are claimed tight is {found[low]:.6f} ({low}) to {found[high]:.12f} ({high}).",
            highlight=False,
        )
    for name, row in rows.items():
        for case in row.broken:
            console.print(f"{name} is VIOLATED: {_case(case)}", highlight=False)
        for mutant in row.mutants.values():
            if mutant.caught_by is None:
                console.print(f"{name}: no instance refutes: {mutant.name}", highlight=False)


def print_sweep(rows: Sequence[Mapping[str, float | int | str]]) -> None:
    """One line a strategy: medians over its runs, nats, and how many converged."""
    from finebound.base.terminal import Console

    table = _table(
        "Medians by strategy", "strategy", "runs", "safety", "proxy", "task", "moved", "converged"
    )
    for row in rows:
        gaps = (f"{row[name]:.4g}" for name in ("safety", "proxy", "task", "displacement"))
        table.add_row(str(row["strategy"]), f"{row['runs']:,}", *gaps, f"{row['converged']:.0%}")
    console = Console()
    console.print(table)
    console.print("safety, proxy, task: gaps in nats a response; moved: the distance from theta_s")


def _table(title: str, left: str, *right: str) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        header_style="bold",
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    table.add_column(left, no_wrap=left == "statement")
    for column in right:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _statements(rows: Mapping[str, StatementAudit]) -> Table:
    table = _table(
        "Audit of every statement",
        "statement",
        "fine-tunes",
        "comparisons",
        "violated",
        "closest",
        "median",
        "mutants",
    )
    for name, row in rows.items():
        table.add_row(
            name,
            f"{row.finetunes:,}",
            f"{row.comparisons:,}",
            f"{row.violations:,}",
            f"{row.max_ratio:.6f}",
            f"{row.median:.3f}",
            f"{row.caught}/{len(row.mutants)}",
        )
    return table


def _assumptions(broken: Sequence[Outcome]) -> Table:
    table = _table(
        "Where an assumption fails, which no statement claims", "assumption", "broken", "worst"
    )
    for outcome in broken:
        table.add_row(
            f"{outcome.statement}: {outcome.assumption}",
            f"{100 * outcome.share:.0f} %",
            f"{outcome.worst:.3g}",
        )
    return table


def _case(case: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in case.items())
