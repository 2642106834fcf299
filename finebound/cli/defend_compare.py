"""``finebound defend --compare``: every defence beside the undefended runs of an experiment."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from finebound.base.errors import InputError
from finebound.cli.options import flags_said, parse

if TYPE_CHECKING:
    from finebound.results.tradeoff import TradeoffResult
    from llm_validation.data.dataset import Dataset

_WIDTH_OF_FILES = 170
_HARMFUL = "harmful-placeholders"
_HARMFUL_ROWS = 32
PAGE = "defences.html"


@dataclass(frozen=True)
class Options:
    """Place every defence beside the undefended runs in the plane of capability and safety.

    EXPERIMENT is the folder of a finished `finebound validate`. Its unconstrained run is defended
    afterwards by every method at several strengths (splora, safe-lora, safe-merge, lora-scaling,
    resta, antidote, ptst, and any file of llm_validation/defences that declares its trials), and
    trained anew, under its own plan, by those that defend during training (constrained-sft, lisa,
    asft); its own defended runs (grid: data mixing, KL, radius, ...) join as they are. All are
    measured on the same held-out rows, with paired intervals, and asked the same prompts; a model
    that no longer speaks is listed as failed. The undefended baseline is swept too: its checkpoints
    and every learning rate of the grid. Points that were made with another budget say so. Defences
    of the data (row matching, SEAL) are not here.

    Writes defences.json and defences.html into DIR. What was measured there is not measured
    again.

    Example: finebound defend --compare validate-out --out defences-out
    """

    compare: Path
    """Folder of the finished experiment."""
    out: Path
    """Folder of the comparison; one that is there goes on."""
    task: str | None = None
    """The task whose unconstrained run is defended (default: that of the most runs)."""
    methods: tuple[str, ...] | None = None
    """Which to compare (default: all)."""
    prompts: int | None = None
    """Held-out safety prompts to answer (default: the experiment's; 0: none)."""
    max_new_tokens: int | None = None
    """Length of an answer (default: the experiment's)."""
    harmful: str | None = None
    """Rows with harmful answers, for antidote (default: the built-in placeholders)."""
    base: str | None = None
    """Folder or hub id of the model before its alignment (default: the experiment's own)."""
    json: bool = False
    """Machine-readable output on stdout, nothing else there."""


def main(arguments: Sequence[str]) -> int:
    if {"-h", "--help"} & set(arguments):
        arguments = ["--help"]  # --compare may stand there without its value
    options = parse(Options, arguments, verb="defend --compare")
    _refuse(options)
    from finebound.base.progress import bar
    from finebound.base.records import write_atomically
    from finebound.views.tradeoff import page
    from llm_validation.tradeoff.compare import compare_defences

    harmful = _harmful(options)
    with flags_said(Options), bar() as progress:
        found = compare_defences(
            options.compare,
            options.out,
            base=options.base,
            task=options.task,
            methods=options.methods,
            prompts=options.prompts,
            max_new_tokens=options.max_new_tokens,
            harmful=harmful,
            progress=progress,
        )
    write_atomically(options.out / PAGE, page(found))
    if options.json:
        print(found.to_json())
    else:
        _print(found, options.out)
    return 0


def _refuse(options: Options) -> None:
    if options.prompts is not None and options.prompts < 0:
        raise InputError(f"--prompts is {options.prompts}.", remedy="Give 0 or more.")
    if options.max_new_tokens is not None and options.max_new_tokens < 1:
        raise InputError(f"--max-new-tokens is {options.max_new_tokens}.", remedy="Give 1 or more.")


def _harmful(options: Options) -> Dataset | None:
    """Harmful rows where a method reads them. Raises InputError where some are given to none."""
    from llm_validation.data.loading import load_dataset
    from llm_validation.defences.registry import compared

    kinds = compared().items()
    readers = [name for name, kind in kinds if "harmful" in getattr(kind, "needs", ())]
    if options.methods is not None and not {*readers} & {*options.methods}:
        if options.harmful is not None:
            raise InputError(
                f"--harmful is given, and only {', '.join(readers)} reads harmful rows.",
                remedy=f"Leave it out, or add {readers[0]} to --methods.",
            )
        return None
    rows = load_dataset(options.harmful or f"builtin:{_HARMFUL}", role="harmful")
    return rows.take(min(_HARMFUL_ROWS, len(rows)), seed=0)


def _print(found: TradeoffResult, out: Path) -> None:
    from finebound.base.terminal import Console
    from finebound.views.tradeoff import scores_table, table

    console = Console(width=None if sys.stdout.isatty() else _WIDTH_OF_FILES)
    console.print(table(found).rich())
    console.print(scores_table(found).rich())
    for method, told in found.faithfulness.items():
        release = f" Its release: {told.release}" if told.release else ""
        console.print(
            f"{method}: {told.paper}{release} Ours: {told.ours}", markup=False, style="dim"
        )
    for line in found.told:
        console.print(line, markup=False)
    console.print(
        f"Written: {out / found.file} and {out / 'defences.html'}", markup=False, soft_wrap=True
    )
