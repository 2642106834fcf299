"""``finebound evaluate KIND``: what a model does, or what answers made elsewhere say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from finebound.cli.options import flags_said, parse, say
from llm_validation.evaluation.registry import evaluate, kind_named, kinds

if TYPE_CHECKING:
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
    kind_options = kind_named(kind).Options
    options = parse(kind_options, rest, verb=f"evaluate {kind}")
    from finebound.base.progress import bar

    with flags_said(kind_options), bar() as progress:
        found = evaluate(kind, options, progress=progress)
    say(found.notes)
    _finish(found, options)
    return found.code


def _finish(found: Evaluation, options: Any) -> None:
    """Write the records into --out, and print."""
    from finebound.base.records import to_json

    written = []
    if options.out is not None:
        written = [str(result.save(options.out)) for result in found.results]
    if options.json:
        print(to_json(found.results[0].to_dict() if found.printed is None else found.printed))
        return
    from finebound.views.evaluation import shown
    from finebound.views.terminal import print_parts

    print_parts(shown(found.results))
    if written:
        print_parts([f"\nWritten: {', '.join(written)}"])
