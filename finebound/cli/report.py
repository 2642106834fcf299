"""``finebound report``: one page about one finished run, or about a whole experiment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from finebound.base.text import show
from finebound.cli.options import parse

PAGE, FIGURES = "report.html", "figures"


@dataclass(frozen=True)
class Options:
    """One page about a finished run: curves, bounds beside measurements, gates, settings. Or about
    a whole experiment: all runs, behaviour, findings, and what the runs support, sentence by
    sentence with numbers and intervals; where behaviour was evaluated, with its figures beside it.

    Example: finebound report smoke-out/runs/general_none_lora_s0

    Example: finebound report smoke-out
    """

    run: Positional[Path]
    """The run's folder, OUT/runs/ID of `finebound validate`, or the experiment's, OUT."""
    out: Path | None = None
    """Folder for report.html (default: the run's or the experiment's own)."""
    json: bool = False
    """What the experiment's runs support on stdout, nothing else there."""


def main(arguments: Sequence[str]) -> int:
    options = parse(Options, arguments, verb="report")
    from finebound.base.errors import InputError
    from finebound.base.records import to_json, write_atomically
    from llm_validation.experiments.experiment_page import is_experiment, read_advice
    from llm_validation.experiments.run_page import run_page

    whole = is_experiment(options.run)
    if options.json and not whole:
        raise InputError(
            "--json tells what a whole experiment supports, and this is no experiment's folder.",
            remedy="Give the folder with validate.json.",
            file=options.run,
        )
    out = options.out or options.run
    if whole:
        written = write_report(options.run, out)
    else:
        written = [write_atomically(out / PAGE, run_page(options.run))]
    if options.json:
        print(to_json({"supports": [one.as_json() for one in read_advice(options.run)]}))
        return 0
    if whole:
        for one in read_advice(options.run):
            show(f"- {one.sentence}")
    show(f"Written: {', '.join(map(str, written))}")
    return 0


def write_report(experiment: Path, out: Path) -> list[Path]:
    """The page of a finished experiment, and where behaviour was evaluated its figures."""
    from finebound.base.records import write_atomically
    from llm_validation.experiments.experiment_page import experiment_page
    from paper_figures.behaved import has_behaviour

    written = [write_atomically(out / PAGE, experiment_page(experiment))]
    if has_behaviour(experiment):
        from paper_figures.drawing import draw_experiment

        draw_experiment(experiment, out / FIGURES)
        written.append(out / FIGURES)
    return written
