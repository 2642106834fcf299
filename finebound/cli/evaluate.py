"""``finebound evaluate KIND``: what a model does, or what answers made elsewhere say."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from importlib import import_module

from finebound.base.modules import sources
from finebound.cli import evaluations

_FIRST_LINE = re.compile(r'"""``finebound evaluate (\S+)``: (.+?)\.?(?:"""|\n)')


def kinds() -> dict[str, str]:
    """Every evaluation and what it does: the modules of ``evaluations`` whose first line says so.

    Such a module holds its ``Options`` and its ``main(arguments) -> exit code``; none is imported.
    """
    lines = {name: _FIRST_LINE.match(source) for name, source in sources(evaluations).items()}
    return {name: line.group(2) for name, line in lines.items() if line}


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
    known = kinds()
    if kind not in known:
        from difflib import get_close_matches

        near = get_close_matches(kind, known, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        print(
            f"finebound evaluate: there is no evaluation {kind!r}.{hint} "
            f"It is one of {', '.join(known)}.",
            file=sys.stderr,
        )
        return 2
    return import_module(f"finebound.cli.evaluations.{kind}").main(rest)
