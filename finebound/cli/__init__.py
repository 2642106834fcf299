"""The command: one verb a job, each imported only when it is called."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module

from finebound.base.errors import InputError
from finebound.base.interruption import INTERRUPTED, leave, obeyed_interrupts
from finebound.base.telemetry import switch_off

# verb -> what it does; the module finebound.cli.<verb> holds its `main(arguments) -> exit code`.
VERBS = {
    "bound": "all bounds, and where exact the true gaps, of a PROBLEM.json",
    "estimate": "what a fine-tune will cost: two datasets (and a model) in, bounds and a page out",
    "calibrate": "the mildest way to train that keeps a safety budget",
    "certify": "what a fine-tuned model has lost of its safe answers, at most, with a confidence",
    "simulate": "audit every statement on random toy problems: violations, tightness, mutants",
    "finetune": "one fine-tune of a model as it is, measured, beside the bounds computed for it",
    "validate": "a grid of real fine-tunes: which bounds held, which findings were confirmed",
    "evaluate": "what a model or recorded answers do: refusal, hazards, bias, translation, loss",
    "defend": "repair a fine-tuned adapter, or compare every defence (--compare)",
    "compare": "paired statistics over evaluations and runs: tests, effect sizes, tables",
    "gate": "the budgets of a file of gates: kept, broken or not decided",
    "forecast-skill": "how forecasts of refusals did on fine-tunes that were run after them",
    "export-tasks": "probes and BBQ as tasks of lm-evaluation-harness and inspect_ai",
    "card": "the section of a model's card: audit, forecast, measurement, certificate",
    "report": "one page about a finished run",
    "figures": "draw the paper's figures from their recorded data",
    "doctor": "what is missing on this machine, and the command that mends it",
}

# Of these an interrupted command goes on when it is given again.
_KEEP = ("estimate", "finetune", "validate", "evaluate", "simulate", "defend")

_QUIET = {
    "TQDM_DISABLE": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
}


def _help() -> str:
    verbs = "\n".join(f"  {verb:<15}{does}" for verb, does in VERBS.items())
    return (
        "usage: finebound VERB [options]\n\n"
        "How much safety must, may and will a fine-tune cost, and what buys it back?\n\n"
        f"verbs:\n{verbs}\n\n"
        "Every verb has --help with a worked example. Exit codes: 0 done, 1 a check failed,\n"
        "2 the input is wrong, 3 a budget is not decided.\n\n"
        "example:\n"
        "  finebound estimate --safety safety.jsonl --task task.jsonl --out out\n"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``finebound`` with ``arguments`` (default: the command line's); returns the exit code."""
    is_whole_process = arguments is None
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_help(), end="")
        return 0 if arguments else 2
    verb, rest = arguments[0], arguments[1:]
    if verb == "--version":
        from importlib.metadata import version

        print(f"finebound {version('finebound')}")
        return 0
    if verb not in VERBS:
        from difflib import get_close_matches

        near = get_close_matches(verb, VERBS, n=1)
        hint = f" Did you mean `finebound {near[0]}`?" if near else ""
        print(f"finebound: unknown verb {verb!r}.{hint} See `finebound --help`.", file=sys.stderr)
        return 2
    switch_off(os.environ)
    # Progress is told by this project's own stages.
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    options: type | None = None
    try:
        with obeyed_interrupts():
            command = import_module(f"finebound.cli.{verb.replace('-', '_')}")
            options = getattr(command, "Options", None)
            code = command.main(rest)
            sys.stdout.flush()
        return code
    except InputError as error:
        from finebound.cli.options import with_flags

        said = str(error) if options is None else with_flags(str(error), options)
        print(f"finebound {verb}: {said}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # The reader (head, a pager) has enough; what is still buffered must not fail at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt:
        kept = " What --out keeps is whole: the same command goes on from there."
        print(f"finebound {verb}: interrupted.{kept if verb in _KEEP else ''}", file=sys.stderr)
        if is_whole_process:
            leave()
        return INTERRUPTED
