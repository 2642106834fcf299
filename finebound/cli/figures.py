"""``finebound figures``: the paper's figures from their recorded data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from finebound.cli.options import parse


@dataclass(frozen=True)
class Options:
    """Draw the paper's figures from their recorded data: PNG, PDF and captions.md.

    A caption says which statement its figure tests and whether it holds in the recorded data. The
    same records give the same bytes. `python -m paper_figures.records` makes the records anew.
    --from draws a finished experiment of yours instead, as the figures of methods and behaviour.

    Example: finebound figures pareto_front --out figures

    Example: finebound figures --from peft-out --out peft-out/figures
    """

    names: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """Which figures; all of them if none is named."""
    experiment: Annotated[Path | None, tyro.conf.arg(name="from")] = None
    """Folder of a finished `finebound validate` with behaviour."""
    json: bool = False
    """Machine-readable output on stdout, nothing else there."""
    out: Path = Path("figures")
    """The folder to draw into."""


def main(arguments: Sequence[str]) -> int:
    options = parse(Options, arguments, verb="figures")
    from finebound.base.errors import InputError
    from finebound.results.experiment import ExperimentResult
    from finebound.views.behaviour.drawing import draw_experiment
    from finebound.views.figure_files import CAPTIONS
    from paper_figures.drawing import draw_figures
    from paper_figures.registry import chosen

    if options.experiment is None:
        drawn = draw_figures(chosen(options.names), options.out)
    elif options.names:
        raise InputError(
            "--from draws every figure that the experiment has data for.",
            remedy="Leave the names out.",
        )
    else:
        result = ExperimentResult.load(options.experiment)
        drawn = draw_experiment(result, options.experiment, options.out)
    captions = options.out / CAPTIONS
    if options.json:
        from finebound.base.records import to_json

        figures = [
            {
                "name": figure.name,
                "files": list(figure.files),
                "caption": figure.caption,
                "claims": [vars(claim) for claim in figure.claims],
            }
            for figure in drawn
        ]
        print(to_json({"figures": figures, "captions": captions}))
        return 0
    for figure in drawn:
        print(*figure.files, sep="\n")
        for claim in figure.claims:
            print(f"  {claim}")
    print(captions)
    return 0
