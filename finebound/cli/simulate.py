"""``finebound simulate``: toy problems that try to break every statement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from finebound.cli.options import given_options, parse
from finebound.errors import InputError

if TYPE_CHECKING:
    from sims.audit import Row


@dataclass(frozen=True)
class Options:
    """Check every statement on random toy problems, and deliberately wrong ones beside them.

    Tabular and quadratic problems are drawn at random, every strategy is solved by an independent
    path, and each bound is compared with the true gaps. Mutants (2 % too tight, a factor 2 off,
    flipped, a term dropped) have to be refuted. Exit code 1 if a bound is violated or a mutant
    survives. A small audit draws more instances than asked for while a mutant survives.

    Example: finebound simulate --audit --instances 10000 --seed 0 --out out
    """

    audit: bool = False
    """Audit every statement."""
    instances: int = 10_000
    """Random problems of each family."""
    seed: int = 0
    """Seed of the problems: the same one gives the same audit."""
    adversarial: bool = False
    """Also search, by gradient ascent, for the problem closest to breaking the tight bounds."""
    json: bool = False
    """Machine-readable output on stdout, nothing else there."""
    out: Path | None = None
    """Also write audit.json into this folder."""


def main(arguments: Sequence[str]) -> int:
    options = parse(Options, arguments, verb="simulate")
    if not options.audit:
        raise InputError("nothing to do.", remedy="Give --audit, for example with --seed 0.")
    if options.instances < 1:
        raise InputError(f"--instances is {options.instances}.", remedy="Give at least 1.")
    if options.seed < 0:
        raise InputError(f"--seed is {options.seed}.", remedy="Give a whole number of at least 0.")
    from finebound.progress import bar
    from finebound.records import manifest, require_folder, to_json, write_atomically

    if options.out is not None:
        require_folder(options.out)
    try:
        from sims.audit import FAMILIES, audit, passed
    except ModuleNotFoundError as error:
        raise InputError(
            f"simulations need {error.name}.", remedy="Install the extra: pip install '.[sims]'."
        ) from None
    found: dict[str, float] = {}
    with bar() as progress:
        rows = audit(FAMILIES, options.instances, seed=options.seed, progress=progress)
        if options.adversarial:
            from sims.adversary import search

            found = search(seed=options.seed, progress=progress)
    content: dict[str, object] = {"statements": {name: row.as_json() for name, row in rows.items()}}
    if found:
        content["adversarial"] = found
    if options.out is not None:
        made = manifest(given=given_options(options, Options), inputs={}, seed=options.seed)
        record = to_json({**content, "manifest": made})
        write_atomically(options.out / "audit.json", record + "\n")
    if options.json:
        print(to_json(content))
    else:
        _print(rows, found)
    return 0 if passed(rows) and all(ratio <= 1.0 + 1e-9 for ratio in found.values()) else 1


def _print(rows: Mapping[str, Row], found: Mapping[str, float]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table(title="Audit of every statement", title_justify="left", header_style="bold")
    for column in ("statement", "instances", "comparisons", "violations", "closest", "mutants"):
        table.add_column(column, justify="left" if column == "statement" else "right")
    for name, row in rows.items():
        table.add_row(
            name,
            f"{row.instances:,}",
            f"{row.comparisons:,}",
            str(row.violations),
            f"{row.max_ratio:.6f}",
            f"{row.caught} of {len(row.mutants)} caught",
        )
    console.print(table)
    console.print("closest: the largest truth / bound (or bound / truth of a lower bound)")
    for name, ratio in found.items():
        console.print(f"adversarial search, {name}: {ratio:.9f}", highlight=False)
    for name, row in rows.items():
        for case in row.broken:
            console.print(f"{name} is VIOLATED: {_case(case)}", highlight=False)
        for mutant in row.mutants.values():
            if mutant.caught_by is None:
                console.print(f"{name}: no instance refutes: {mutant.name}", highlight=False)


def _case(case: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in case.items())
