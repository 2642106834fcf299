"""``finebound defend --compare``: every defence beside the undefended runs of an experiment."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from finebound.base.errors import InputError
from finebound.cli.options import parse

if TYPE_CHECKING:
    from llm_validation.data.dataset import Dataset

_WIDTH_OF_FILES = 170
_HARMFUL = "harmful-placeholders"
_HARMFUL_ROWS = 32
_METHODS = (
    "splora",
    "safe-lora",
    "lora-scaling",
    "resta",
    "safe-merge",
    "antidote",
    "ptst",
    "constrained-sft",
    "lisa",
    "asft",
    "grid",
)


@dataclass(frozen=True)
class Options:
    """Place every defence beside the undefended runs in the plane of capability and safety.

    EXPERIMENT is the folder of a finished `finebound validate`. Its unconstrained run is defended
    afterwards by every method at several strengths, and trained anew, under its own plan, by those
    that defend during training (constrained-sft, lisa, asft); its own defended runs (grid: data
    mixing, KL, radius, ...) join as they are. All are measured on the same held-out rows, with
    paired intervals, and asked the same prompts; a model that no longer speaks is listed as
    failed. The undefended baseline is swept too: its checkpoints and every learning rate of the
    grid. Points that were made with another budget say so. Defences of the data (row matching,
    SEAL) are not here.

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
    methods: tuple[
        Literal[
            "splora",
            "safe-lora",
            "lora-scaling",
            "resta",
            "safe-merge",
            "antidote",
            "ptst",
            "constrained-sft",
            "lisa",
            "asft",
            "grid",
        ],
        ...,
    ] = _METHODS
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
    from finebound.base.records import to_json
    from llm_validation.tradeoff.compare import compare_defences

    harmful = _harmful(options)
    with bar() as progress:
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
    if options.json:
        print(to_json(found))
    else:
        _print(found, options.out)
    return 0


def _refuse(options: Options) -> None:
    if options.prompts is not None and options.prompts < 0:
        raise InputError(f"--prompts is {options.prompts}.", remedy="Give 0 or more.")
    if options.max_new_tokens is not None and options.max_new_tokens < 1:
        raise InputError(f"--max-new-tokens is {options.max_new_tokens}.", remedy="Give 1 or more.")
    if not options.methods:
        raise InputError("--methods names none.", remedy=f"There are {', '.join(_METHODS)}.")
    if options.harmful is not None and "antidote" not in options.methods:
        raise InputError(
            "--harmful is given, and only antidote reads harmful rows.",
            remedy="Leave it out, or add antidote to --methods.",
        )


def _harmful(options: Options) -> Dataset | None:
    from llm_validation.data.builtin import BUILTIN
    from llm_validation.data.loading import load_dataset

    if "antidote" not in options.methods or (options.harmful is None and _HARMFUL not in BUILTIN):
        return None
    rows = load_dataset(options.harmful or f"builtin:{_HARMFUL}", role="harmful")
    return rows.take(min(_HARMFUL_ROWS, len(rows)), seed=0)


def _print(found: dict[str, Any], out: Path) -> None:
    from finebound.base.terminal import Console

    console = Console(width=None if sys.stdout.isatty() else _WIDTH_OF_FILES)
    console.print(_places(found))
    console.print(_scores(found))
    for curve in found["frontiers"]:
        console.print(
            f"{curve['statement']} ({curve['status'].lower()}): {curve['says']}", markup=False
        )
    for entry in found["not_applicable"]:
        what = f"{entry['method']} {entry['strength']}".strip()
        console.print(f"{what} does not apply to {entry['run']}: {entry['why']}", markup=False)
    for method, told in found["faithfulness"].items():
        release = f" Its release: {told['release']}" if told["release"] else ""
        console.print(
            f"{method}: {told['paper']}{release} Ours: {told['ours']}", markup=False, style="dim"
        )
    for note in found["notes"]:
        console.print(note, markup=False)
    console.print(
        f"Written: {out / 'defences.json'} and {out / 'defences.html'}",
        markup=False,
        soft_wrap=True,
    )


def _places(found: dict[str, Any]) -> Any:
    table = _table(
        f"{found['experiment']}, task {found['task']}: {found['unit']}",
        "place",
        "gain",
        "safety rise",
        "at equal gain",
        "refused",
        "over-refused",
        "incoherent",
        "coherence",
        "budget",
    )
    for place in found["places"]:
        for p in place["seeds"]:
            answers = p["answers"] or {}
            budget = p["budget"]
            table.add_row(
                place["id"],
                _interval(place["gain"]),
                _interval(place["rise"]),
                _interval(place["against_baseline"]),
                *(_rate(answers.get(name)) for name in ("refusal", "over_refusal", "incoherent")),
                "passed" if p["gate"]["passed"] else f"FAILED: {p['gate']['because']}",
                "; ".join([*budget["other"]]) or "the same",
            )
    return table


def _scores(found: dict[str, Any]) -> Any:
    table = _table(
        "Scores: hypervolume against no gain and the worst coherent safety rise "
        f"({found['reference']['rise']:+.4f})",
        "family",
        "strengths",
        "hypervolume",
        "less the undefended sweep's",
        "distance to the frontier",
    )
    for entry in found["scores"]:
        names = ("hypervolume", "less_baseline", "distance")
        told = [_interval(entry.get(name)) for name in names]
        if entry["hypervolume"] is None:
            told[0] = "no coherent model"
        table.add_row(entry["family"], str(entry["strengths"]), *told)
    return table


def _table(title: str, *columns: str) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title), title_justify="left", header_style="bold")
    for number, column in enumerate(columns):
        left = number == 0 or column in ("coherence", "budget")
        table.add_column(column, justify="left" if left else "right", overflow="fold")
    return table


def _interval(found: dict[str, Any] | None) -> str:
    from finebound.base.output import number

    if found is None:
        return "-"
    low, high = (number(float(found[name])) for name in ("lower", "upper"))
    return f"{float(found['estimate']):+.4f} [{low}, {high}]"


def _rate(found: dict[str, Any] | None) -> str:
    return "-" if not found or not found["n"] else f"{found['count']}/{found['n']}"
