"""``finebound doctor``: what is missing on this machine, and the command that mends it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finebound.cli.options import parse

if TYPE_CHECKING:
    from finebound.cli.health import Examined
    from finebound.views.tables import Table


_SHOWN = ("activations", "total")
"""Of the parts of a fine-tune's memory what a terminal has room for; --json has all."""


@dataclass(frozen=True)
class Options:
    """Check this machine: packages, the packaged model, its cache, memory, devices, the hub.

    Exit code 0 if `finebound estimate` works here with the packaged model, 1 if something that it
    needs is missing; each finding says which command mends it. --licences lists the licence of
    every dependency instead, and fails on one that is unknown or copyleft. --model counts what
    fine-tunes of a model need of a GPU.

    Example: finebound doctor

    Example: finebound doctor --model packaged --rows 8 --length 512
    """

    licences: bool = False
    """List the licences of all dependencies; exit code 1 if one is unknown or copyleft."""
    model: str | None = None
    """Count GPU memory and time of fine-tunes of this model; its weights are not read."""
    rows: int = 4
    """Rows of a micro-batch, with --model."""
    length: int = 1024
    """Tokens of a row, with --model."""

    json: bool = False
    """Machine-readable output on stdout, nothing else there."""
    out: Path | None = None
    """Also write doctor.json into this folder."""


def main(arguments: Sequence[str]) -> int:
    options = parse(Options, arguments, verb="doctor")
    if options.licences:
        from finebound.cli.licences import licences

        listed = licences()
        accepted = all(one.is_accepted for one in listed)
        found = {"accepted": accepted, "licences": [asdict(one) for one in listed]}
        rows = tuple((e.package, e.version, e.licence, e.verdict) for e in listed)
        _write(options, found, lambda: _licence_table(rows))
        return 0 if accepted else 1
    if options.model is not None:
        from finebound.cli.needs import needs, needs_table
        from llm_validation.models.footprint import Shape
        from llm_validation.models.loading import load_reader

        config = load_reader(options.model).blank.config.get_text_config()
        entries = list(needs(Shape.of(config), rows=options.rows, length=options.length))
        title = f"{options.model}: a micro-batch of {options.rows} rows of {options.length} tokens"
        _write(options, {"fine_tunes": entries}, lambda: needs_table(title, entries, parts=_SHOWN))
        return 0
    from finebound.cli.health import examine

    findings = examine()
    healthy = all(finding.ok or not finding.needed for finding in findings)
    found = {"healthy": healthy, "findings": [vars(finding) for finding in findings]}
    if not options.json:
        _print_findings(findings)
    _write(options, found, None)
    return 0 if healthy else 1


def _licence_table(rows: tuple[tuple[str, ...], ...]) -> Table:
    from finebound.views.tables import Table

    columns = ("package", "version", "licence", "verdict")
    return Table(name="licences", title="Licences", columns=columns, rows=rows)


def _write(options: Options, found: dict[str, Any], table: Callable[[], Table] | None) -> None:
    """The record to --out, and to stdout with --json; else the table, if any, for a reader."""
    from finebound.base.records import to_json, write_atomically

    content = to_json(found)
    if options.out is not None:
        write_atomically(options.out / "doctor.json", content + "\n")
    if options.json:
        print(content)
    elif table is not None:
        from finebound.base.terminal import Console

        Console().print(table().rich())


def _print_findings(findings: Sequence[Examined]) -> None:
    from rich.table import Table

    from finebound.base.terminal import Console

    table = Table(header_style="bold")
    for column in ("state", "what", "found", "mend it with"):
        table.add_column(column, overflow="fold")
    for finding in findings:
        mark = "ok" if finding.ok else ("missing" if finding.needed else "optional")
        table.add_row(mark, finding.what, finding.found, "" if finding.ok else finding.remedy)
    Console().print(table)
