"""``finebound simulate``: toy problems that try to break every statement."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from finebound.base.errors import InputError
from finebound.cli.options import given_options, parse

_INSTANCES = 10_000
# The adversary must come this close to a form that is claimed tight, and not beyond it.
_REACHED, _BROKEN = 0.99, 1.0 + 1e-9


@dataclass(frozen=True)
class Options:
    """Toy models that try to break every statement: an audit, or a sweep of your own.

    --audit: problems are drawn at random, every strategy is solved by an independent path, and
    each bound is compared with the true gaps. Mutants (2 % too tight, a factor 2 off, flipped, a
    term dropped) have to be refuted. Exit code 1 if a bound is violated, a mutant survives, or the
    adversary stays 1 % away from a bound that is claimed tight. A small audit draws more
    instances than asked for while a mutant survives. A second table shows what becomes of a bound
    where an assumption of its statement fails.

    --grid: a sweep over knobs, strategies and seeds of one family of trained toy models, described
    by a JSON or YAML file such as {"family": "mlp", "overlap": [0, 0.5, 1], "lam": [0.1, 1, 10],
    "seeds": 5}. Its runs become the columns of Parquet files in --out; a second start goes on.

    Example: finebound simulate --audit --instances 10000 --seed 0 --out out
    """

    audit: bool = False
    """Audit every statement."""
    grid: Path | None = None
    """Train the toy models of the sweep that this file describes; needs --out."""
    instances: int | None = None
    """Random problems of each family with closed forms (default: 10000)."""
    sizes: str | None = None
    """Instead of --instances: "full", or counts by family, such as tabular=5000,quadratic=500."""
    seed: int = 0
    """Seed of the audit's problems: the same one gives the same audit."""
    workers: int | None = None
    """Processes that share the audit (default: one a core); the result does not depend on it."""
    adversarial: bool = False
    """Also search, by gradient ascent, for the problem closest to breaking the tight bounds."""
    memory: float = 2.0
    """GB that a sweep may take at once."""
    json: bool = False
    """Machine-readable output on stdout, nothing else there."""
    out: Path | None = None
    """A folder: for audit.json, every row with its mutants and tightness, and audit.md; or for
    the sweep's columns."""


def main(arguments: Sequence[str]) -> int:
    options = parse(Options, arguments, verb="simulate")
    _refuse(options)
    from finebound.base.records import require_folder

    if options.out is not None:
        require_folder(options.out)
    try:
        return _audit(options) if options.grid is None else _sweep(options, options.grid)
    except ModuleNotFoundError as error:
        raise InputError(
            f"simulations need {error.name}.", remedy="Install the extra: pip install '.[sims]'."
        ) from None


def _sweep(options: Options, file: Path) -> int:
    from finebound.base.progress import bar
    from finebound.base.records import to_json
    from sims.precision import one_device_a_core
    from sims.sweep_grid import Grid

    grid = Grid.read(file)
    one_device_a_core()
    from sims.sweep import sweep
    from sims.sweep_summary import by_strategy

    with bar() as progress:
        columns = sweep(grid, out=options.out, memory=int(options.memory * 1e9), progress=progress)
    rows = by_strategy(columns)
    if options.json:
        print(to_json({"runs": len(columns["safety"]), "strategies": rows}))
    else:
        from finebound.cli.simulate_table import print_sweep

        print_sweep(rows)
        print(f"columns: {options.out}")
    return 0


def _audit(options: Options) -> int:
    from finebound.base.progress import bar
    from finebound.base.records import manifest, to_json, write_atomically
    from sims.audit import audit, passed
    from sims.families.registry import CLOSED_FORM, FAMILIES, FULL
    from sims.report import audit_page
    from sims.violated import violated_assumptions

    if options.sizes == "full":
        sizes = FULL
    elif options.sizes is not None:
        sizes = _sizes(options.sizes, FAMILIES)
    else:
        sizes = dict.fromkeys(CLOSED_FORM, options.instances or _INSTANCES)
    found: dict[str, float] = {}
    with bar() as progress:
        rows = audit(
            [(FAMILIES[name], count) for name, count in sizes.items()],
            seed=options.seed,
            workers=options.workers,
            progress=progress,
        )
        broken = violated_assumptions(seed=options.seed, progress=progress)
        if options.adversarial:
            from sims.adversary import search

            found = search(seed=options.seed, progress=progress)
    content: dict[str, object] = {
        "statements": {name: row.as_json() for name, row in rows.items()},
        "violated_assumptions": [experiment.as_json() for experiment in broken],
    }
    if found:
        content["adversarial"] = found
    if options.out is not None:
        made = manifest(given=given_options(options, Options), inputs={}, seed=options.seed)
        record = {**content, "sizes": sizes, "manifest": made}
        write_atomically(options.out / "audit.json", to_json(record) + "\n")
        write_atomically(options.out / "audit.md", audit_page(record))
    if options.json:
        print(to_json(content))
    else:
        from finebound.cli.simulate_table import print_audit

        print_audit(rows, broken, found)
    tight = all(_REACHED <= ratio <= _BROKEN for ratio in found.values())
    return 0 if passed(rows) and tight else 1


def _refuse(options: Options) -> None:
    if options.audit == (options.grid is not None):
        raise InputError(
            "there are both --audit and --grid." if options.audit else "nothing to do.",
            remedy="Give either --audit, for example with --seed 0, or --grid FILE.",
        )
    if options.grid is not None and options.out is None:
        raise InputError("a sweep leaves its columns in a folder.", remedy="Give --out DIR.")
    if not options.memory > 0:
        raise InputError(f"--memory is {options.memory:g} GB.", remedy="Give more than 0.")
    if options.instances is not None and options.sizes is not None:
        raise InputError(
            "--instances and --sizes both say how much to draw.", remedy="Give one of them."
        )
    if options.instances is not None and options.instances < 1:
        raise InputError(f"--instances is {options.instances}.", remedy="Give at least 1.")
    if options.workers is not None and options.workers < 1:
        raise InputError(f"--workers is {options.workers}.", remedy="Give at least 1 process.")
    if options.seed < 0:
        raise InputError(f"--seed is {options.seed}.", remedy="Give a whole number of at least 0.")


def _sizes(given: str, known: Collection[str]) -> Mapping[str, int]:
    """ "tabular=5000,quadratic=500" as counts by family."""
    remedy = f"Write family=count, separated by commas; families: {', '.join(known)}."
    sizes: dict[str, int] = {}
    for part in given.split(","):
        name, _, count = (word.strip() for word in part.partition("="))
        if name not in known:
            raise InputError(f"--sizes names the family {name!r}, which is unknown.", remedy=remedy)
        if not count.isdecimal() or int(count) < 1:
            raise InputError(
                f"--sizes gives {name} the count {count!r}, not a whole number of at least 1.",
                remedy=remedy,
            )
        if name in sizes:
            raise InputError(f"--sizes names {name} twice.", remedy=remedy)
        sizes[name] = int(count)
    return sizes
