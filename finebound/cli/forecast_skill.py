"""``finebound forecast-skill``: how forecasts of finished fine-tunes did, from their records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from finebound.base.errors import InputError
from finebound.cli.options import parse


@dataclass(frozen=True)
class Options:
    """How well forecasts did on fine-tunes that were run after them.

    Each record of the evidence holds a forecast, the hash of its file, and what the fine-tune then
    did. Refusals are judged in points, the change of the safety loss in nats per token. Every
    fine-tune is forecast from those of other pairs of datasets (T25). Beside the coarse unroll
    (T20) stand stored answers alone (T22), "no change", and climatology, which says the mean of
    all other pairs. The interval score is the width of a 90 % interval, and twenty times what a
    measurement lies outside.

    Without --records: the records that the package brings. Your own are made by `python -m
    llm_validation.experiments.evidence --registry FILE --out DIR`.

    With --runs N: N new fine-tunes of your own, each forecast before it is run. The first is the
    training that you give, the others have half or twice its rate, or 10 % or 30 % of harmful
    rows. Told is how many of the intervals held that the package's calibration gives them. Every
    fine-tune takes as long as yours. The same command goes on where it was stopped, and a larger N
    adds to what is there. Exit code 1 where fewer held than chance explains.

    Example: finebound forecast-skill --json

    Example: finebound forecast-skill --runs 10 --training axolotl.yaml --out out
    """

    records: Path | None = None
    """Folder of records, one a fine-tune."""
    runs: int | None = None
    """New fine-tunes of your own; needs --out."""
    model: str | None = None
    """Their aligned model: a folder or a hub id (default: the one that --training names)."""
    task: str | None = None
    """Their task data (default: those that --training names)."""
    training: str | None = None
    """Their training configuration, as `finebound estimate` takes it (default: a LoRA of 100
    steps)."""
    probes: str = "builtin:pairs"
    """Harmful probes and harmless look-alikes that they are asked."""
    seed: int = 0
    """Seed of the bootstrap, and of new fine-tunes."""
    json: bool = False
    """Machine-readable output on stdout, nothing else there."""
    out: Path | None = None
    """Folder for skill.json, or for new fine-tunes and calibration_check.json."""


def main(arguments: Sequence[str]) -> int:
    options = parse(Options, arguments, verb="forecast-skill")
    if options.runs is not None:
        return _new_fine_tunes(options, options.runs)
    from finebound.api import forecast_skill
    from finebound.base.records import require_folder

    if options.out is not None:
        require_folder(options.out)
    found = forecast_skill(options.records, seed=options.seed)
    if options.out is not None:
        found.save(options.out)
    if options.json:
        print(found.to_json())
        return 0
    from rich.text import Text

    from finebound.base.terminal import Console
    from finebound.views.skill import for_a_terminal

    console = Console()
    console.print(Text(found.summary()), soft_wrap=True)
    for table in for_a_terminal(found):
        console.print(table.rich())
    if options.out is not None:
        console.print(f"\nWritten: {options.out / found.file}")
    return 0


def _new_fine_tunes(options: Options, runs: int) -> int:
    """Forecast, run and check new fine-tunes."""
    if options.out is None or options.records is not None:
        raise InputError(
            "--runs is given without --out." if options.out is None else "--runs and --records.",
            remedy="Give --runs with --out, where the fine-tunes are kept, and without --records.",
        )
    from finebound.base.progress import bar
    from finebound.base.records import require_folder
    from llm_validation.estimation.request import Request
    from llm_validation.experiments.own_evidence import check_calibration

    require_folder(options.out)
    request = Request(
        task=options.task,
        model=options.model,
        training=options.training,
        probes=options.probes,
        seed=options.seed,
    )
    with bar() as progress:
        found = check_calibration(request, runs, options.out, progress=progress)
    found.save(options.out)
    if options.json:
        print(found.to_json())
    else:
        from rich.text import Text

        from finebound.base.terminal import Console

        console = Console()
        console.print(Text(found.summary()), soft_wrap=True)
        console.print(found.table().rich())
        console.print(f"\nWritten: {options.out / found.file}")
    return 1 if found.fails else 0
