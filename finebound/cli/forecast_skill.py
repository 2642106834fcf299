"""``finebound forecast-skill``: how forecasts of finished fine-tunes did, from their records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

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

    Example: finebound forecast-skill --json
    """

    records: Path | None = None
    """Folder of records, one a fine-tune."""
    seed: int = 0
    """Seed of the bootstrap."""
    json: bool = False
    """Machine-readable output on stdout, nothing else there."""
    out: Path | None = None
    """Folder for skill.json."""


def main(arguments: Sequence[str]) -> int:
    options = parse(Options, arguments, verb="forecast-skill")
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
