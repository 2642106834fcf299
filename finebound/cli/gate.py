"""``finebound gate``: the budgets of a team, each kept, broken or not decided."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from finebound.cli.gate_files import GateFiles
from finebound.cli.options import given_options, parse


@dataclass(frozen=True)
class Options(GateFiles):
    """Run the gates of a file and say of each budget whether it is kept.

    FILE is YAML or JSON with a list of gates. Each is a verb (estimate, evaluate, compare or
    certify) with its options as on the command line, a budget among them, and perhaps a name:

        gates:
          - name: refusals of the release
            certify: {reference: before.jsonl, candidate: after.jsonl, budget: {refusal: 5}}
          - evaluate: {kind: hazards, responses: after.jsonl, budget: {harmful-compliance: 5}}

    All gates are checked before the first one runs. A line says of each budget whether it is kept,
    broken or not decided, with its interval. Exit code 0: all are kept, 1: one is broken, 3: none
    is broken and one is not decided, 2: the input is wrong.

    Example: finebound gate gate.yaml --junit gates.xml --markdown summary.md
    """

    file: Positional[Path]
    """The file of gates."""
    json: bool = False
    """Machine-readable output on stdout, nothing else there."""
    out: Path | None = None
    """Folder for gate.json and, in a folder for each gate, what its verb writes."""


def main(arguments: Sequence[str]) -> int:
    options = parse(Options, arguments, verb="gate")
    options.require()
    from finebound.base.progress import bar
    from finebound.base.records import file_sha256, manifest, require_folder
    from finebound.base.text import show
    from finebound.cli.gate_file import read_gates
    from finebound.results.gate import GateResult, lines_of
    from finebound.results.result import Manifest

    planned = read_gates(options.file)
    if options.out is not None:
        require_folder(options.out)
    with bar() as progress:
        gates = tuple(one.gate(options.out, progress) for one in planned)
    made = manifest(
        given=given_options(options, Options),
        inputs={str(options.file): file_sha256(options.file)},
        seed=0,
    )
    found = GateResult(gates=gates, manifest=Manifest(**made))
    if options.out is not None:
        found.save(options.out)
    options.write(gates)
    if options.json:
        print(found.to_json())
    else:
        show("\n".join(lines_of(gates)))
    return found.exit_code
