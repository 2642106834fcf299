"""``finebound doctor``: what is missing on this machine, and the command that mends it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from finebound.cli.options import parse


@dataclass(frozen=True)
class Options:
    """Check this machine: packages, the packaged model, its cache, memory, devices, the hub.

    Exit code 0 if `finebound estimate` works here with the packaged model, 1 if something that it
    needs is missing; each finding says which command mends it.

    Example: finebound doctor
    """

    json: bool = False
    """Machine-readable output on stdout, nothing else there."""
    out: Path | None = None
    """Also write doctor.json into this folder."""


def main(arguments: Sequence[str]) -> int:
    options = parse(Options, arguments, verb="doctor")
    from finebound.base.records import to_json, write_atomically
    from finebound.cli.health import examine

    findings = examine()
    healthy = all(finding.ok or not finding.needed for finding in findings)
    content = to_json({"healthy": healthy, "findings": [vars(finding) for finding in findings]})
    if options.out is not None:
        write_atomically(options.out / "doctor.json", content + "\n")
    if options.json:
        print(content)
        return 0 if healthy else 1
    from rich.table import Table

    from finebound.base.terminal import Console

    table = Table(header_style="bold")
    for column in ("state", "what", "found", "mend it with"):
        table.add_column(column, overflow="fold")
    for finding in findings:
        mark = "ok" if finding.ok else ("missing" if finding.needed else "optional")
        table.add_row(mark, finding.what, finding.found, "" if finding.ok else finding.remedy)
    Console().print(table)
    return 0 if healthy else 1
