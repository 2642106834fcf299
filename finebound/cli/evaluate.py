"""``finebound evaluate KIND``: what a model does, or what answers made elsewhere say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, make_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finebound.cli.gate_files import GateFiles
from finebound.cli.options import flags_said, parse, say
from llm_validation.evaluation.registry import evaluate, kind_named, kinds

if TYPE_CHECKING:
    from finebound.base.progress import Progress
    from llm_validation.evaluation.registry import Evaluation


def _help() -> str:
    lines = "\n".join(f"  {kind:<13}{does}" for kind, does in kinds().items())
    return (
        "usage: finebound evaluate KIND [options]\n\n"
        "Evaluate a model, or a file of answers that were made elsewhere.\n\n"
        f"kinds:\n{lines}\n\n"
        "Every kind has --help with a worked example.\n\n"
        "example:\n"
        "  finebound evaluate refusal --responses answers.jsonl --json\n"
    )


def main(arguments: Sequence[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_help(), end="")
        return 0 if arguments else 2
    kind, rest = arguments[0], arguments[1:]
    kind_options = options_of(kind)
    options = parse(kind_options, rest, verb=f"evaluate {kind}")
    from finebound.base.progress import bar

    with flags_said(kind_options), bar() as progress:
        if isinstance(options, GateFiles):
            options.require(budget=bool(getattr(options, "budget", ())))
        found, written = run(kind, options, progress)
    if isinstance(options, GateFiles):
        from finebound.results.gate import Gate

        name = f"evaluate {kind}"
        options.write([Gate(name=name, verb="evaluate", checks=tuple(found.checks))])
    _print(found, options, written)
    return code_of(found)


def options_of(kind: str) -> type[Any]:
    """The options of an evaluation; one with budgets also has files for them."""
    own = kind_named(kind).Options
    if "budget" not in {field.name for field in fields(own)}:
        return own
    made = make_dataclass("Options", [], bases=(GateFiles, own), frozen=True, kw_only=True)
    made.__doc__ = own.__doc__
    return made


def run(kind: str, options: Any, progress: Progress) -> tuple[Evaluation, list[Path]]:
    """The evaluation of the options, and the records written into their folder."""
    own = kind_named(kind).Options
    asked = own(**{field.name: getattr(options, field.name) for field in fields(own)})
    found = evaluate(kind, asked, progress=progress)
    say(found.notes)
    if options.out is None:
        return found, []
    return found, [result.save(options.out) for result in found.results]


def code_of(found: Evaluation) -> int:
    """The evaluation's own code, or that of its budgets."""
    from finebound.results.budget import exit_code

    return found.code or exit_code(check.decision for check in found.checks)


def _print(found: Evaluation, options: Any, written: Sequence[Path]) -> None:
    from finebound.base.records import to_json

    if options.json:
        print(to_json(found.results[0].to_dict() if found.printed is None else found.printed))
        return
    from finebound.views.evaluation import shown
    from finebound.views.terminal import print_parts

    print_parts([*shown(found.results), *(f"Budget {check.said}" for check in found.checks)])
    if written:
        print_parts([f"\nWritten: {', '.join(map(str, written))}"])
