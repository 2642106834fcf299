"""``finebound compare``: paired statistics over evaluations and over runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tyro.conf import Positional, UseAppendAction

from finebound.cli.gate_files import GateFiles
from finebound.cli.options import given_options, parse

if TYPE_CHECKING:
    from finebound.results.compare import CompareResult


@dataclass(frozen=True)
class Options(GateFiles):
    """Compare methods item by item: means, differences, paired tests, effect sizes, tables.

    RUNS are records that `finebound evaluate ... --out` wrote, validate.json of `finebound
    validate`, or folders with such. Evaluations are paired by the items' ids; records with the same
    label are seeds of one method. Runs are grouped by --by and paired over what else they share.
    Runs that failed a gate of their experiment's validate.json are marked, and in no test.

    Two methods: Wilcoxon's signed-rank test. Three or more: Friedman's with Kendall's W, and
    Wilcoxon's of every pair with Bonferroni's correction. Effect r = |z| / sqrt(n), n the number of
    pairs that differ, named after Sawilowsky. Intervals: 95 % over items and seeds, of few items or
    of items that are all alike as wide as their number allows. A sentence says of each method
    whether it differs from the base beyond chance (interval and corrected test) or is undecided.
    BBQ: ambiguous and disambiguated contexts apart, with the bias of each and where it turned its
    sign.

    --budget says how much worse than the base a method may be, by the evaluation of the records:
    refusal, hazards, over-refusal, look-alikes and bbq in points of 100, loss, safety_gap and
    capability_gap in nats per token, translation in chrF, reliability in its score. Exit code 0:
    every method keeps every budget, 1: one is broken, 3: not decided. The interval is the paired
    one, 95 %.

    Example: finebound compare base/bbq.json lora/bbq.json ia3/bbq.json --base base --out tables

    Example: finebound compare base lora --budget hazards=5 --budget over-refusal=5
    """

    runs: Positional[tuple[Path, ...]]
    """Records or folders of them."""
    base: str | None = None
    """Label that differences are taken to (default: the first)."""
    by: Literal["method", "strategy", "proxy", "task"] | None = None
    """What to group runs of a grid by (default: the first of these that differs)."""
    keep_failed_gates: bool = False
    """Test runs that failed a gate, too; they stay marked."""
    budget: UseAppendAction[tuple[str, ...]] = ()
    """What may be lost beside the base, by evaluation: hazards=5; once for each."""
    seed: int = 0
    """Seed of the bootstrap."""
    json: bool = False
    """Machine-readable output on stdout, nothing else there."""
    out: Path | None = None
    """Folder for compare.json and the tables in Markdown, CSV and LaTeX."""


def main(arguments: Sequence[str]) -> int:
    options = parse(Options, arguments, verb="compare")
    options.require(budget=bool(options.budget))
    from finebound.results.budget import exit_code
    from finebound.results.gate import Gate

    found, files = run(options)
    options.write([Gate(name="compare", verb="compare", checks=found.budgets)])
    code = exit_code(check.decision for check in found.budgets)
    if options.json:
        print(found.to_json())
        return code
    from rich.text import Text

    from finebound.base.terminal import Console
    from finebound.views.compare import for_a_terminal

    console = Console()
    for comparison in found.comparisons:
        for table, left in for_a_terminal(comparison):
            if table.rows:
                console.print(table.rich())
            if left:
                console.print(f"({left} more rows in {table.name}.md with --out)")
        for line in comparison.words:
            console.print(Text(line), soft_wrap=True)
    for check in found.budgets:
        console.print(Text(f"Budget {check.said}"), soft_wrap=True)
    if options.out is not None:
        console.print(f"\nWritten: {options.out / found.file} and {files} tables")
    return code


def run(options: Options) -> tuple[CompareResult, int]:
    """The comparison of the options, and how many tables it wrote into their folder."""
    from finebound.api import compare
    from finebound.base.records import require_folder

    if options.out is not None:
        require_folder(options.out)
    found = compare(
        options.runs,
        base=options.base,
        by=options.by,
        keep_failed_gates=options.keep_failed_gates,
        seed=options.seed,
        budget=options.budget,
        given=given_options(options, Options),
    )
    return found, 0 if options.out is None else _write(found, options.out)


def _write(found: CompareResult, out: Path) -> int:
    """compare.json and its tables in every format, all or none; how many tables."""
    from finebound.base.records import staged_folder
    from finebound.views.compare import tables
    from finebound.views.tables import FORMATS

    written = [table for comparison in found.comparisons for table in tables(comparison)]
    with staged_folder(out) as folder:
        found.save(folder)
        for table in written:
            for ending, form in FORMATS.items():
                file = folder / f"{table.name}.{ending}"
                file.write_text(form(table), encoding="utf-8")
    return len(written)
