"""``finebound report``: one page about one finished run, or about a whole experiment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tyro.conf import Positional

from finebound.base.text import show
from finebound.cli.options import parse

if TYPE_CHECKING:
    from finebound.results.experiment import ExperimentResult

PAGE, FIGURES = "report.html", "figures"


@dataclass(frozen=True)
class Options:
    """One page about a finished run: curves, bounds beside measurements, gates, settings. Or about
    an estimate or a certificate, from its record alone. Or about a whole experiment: all runs,
    behaviour, findings, and what the runs support, sentence by sentence with numbers and intervals;
    where behaviour was evaluated, with its figures beside it.

    Example: finebound report smoke-out/runs/general_none_lora_s0

    Example: finebound report smoke-out

    Example: finebound report out/estimate.json

    Example: finebound report out/certificate.json
    """

    run: Positional[Path]
    """The run's folder, OUT/runs/ID of `finebound validate`, the experiment's, OUT, or the folder
    or record of an estimate or a certificate."""
    out: Path | None = None
    """Folder for report.html (default: the record's own)."""
    json: bool = False
    """What the experiment's runs support on stdout, nothing else there."""


def main(arguments: Sequence[str]) -> int:
    options = parse(Options, arguments, verb="report")
    from finebound.base.errors import InputError
    from finebound.base.records import to_json, write_atomically
    from finebound.results.estimate import EstimateResult
    from finebound.results.experiment import ExperimentResult
    from finebound.results.run import RunResult
    from finebound.views.run import page

    out = options.out or (options.run.parent if options.run.is_file() else options.run)
    if not (options.run / ExperimentResult.file).is_file():
        if options.json:
            raise InputError(
                "--json tells what a whole experiment supports, and this is no experiment's "
                "folder.",
                remedy="Give the folder with validate.json.",
                file=options.run,
            )
        if _is_certificate(options.run):
            from finebound.results.certificate import CertificateResult
            from finebound.views import certificate

            drawn = certificate.page(CertificateResult.load(options.run))
        elif options.run.is_file() or (options.run / EstimateResult.file).is_file():
            from finebound.views import estimate

            drawn = estimate.page(EstimateResult.load(options.run))
        else:
            drawn = page(RunResult.load(options.run))
        written = write_atomically(out / PAGE, drawn)
        show(f"Written: {written}")
        return 0
    result = ExperimentResult.load(options.run)
    written = write_report(result, options.run, out)
    if options.json:
        print(to_json({"supports": [one.to_dict() for one in result.advice]}))
        return 0
    for one in result.advice:
        show(f"- {one.sentence}")
    show(f"Written: {', '.join(map(str, written))}")
    return 0


def _is_certificate(run: Path) -> bool:
    from finebound.results.certificate import CertificateResult

    return run.name == CertificateResult.file or (run / CertificateResult.file).is_file()


def write_report(result: ExperimentResult, folder: Path, out: Path) -> list[Path]:
    """The page of a finished experiment, and where behaviour was evaluated its figures."""
    from finebound.base.records import write_atomically
    from finebound.views.behaviour.common import has_behaviour
    from finebound.views.behaviour.drawing import draw_experiment
    from finebound.views.experiment import page

    written = [write_atomically(out / PAGE, page(result))]
    if has_behaviour(result):
        draw_experiment(result, folder, out / FIGURES)
        written.append(out / FIGURES)
    return written
