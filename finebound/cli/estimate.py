"""``finebound estimate``: what a fine-tune will cost, before it is run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from finebound.cli.gate_files import GateFiles
from finebound.cli.options import given_options, memory_allowed, parse, say
from llm_validation.estimation.request import Request

if TYPE_CHECKING:
    from finebound.base.progress import Progress
    from finebound.results.estimate import EstimateResult


@dataclass(frozen=True)
class Options(GateFiles, Request):
    """How much safety and capability a fine-tune must and may cost, before it is run.

    Datasets are files (JSON Lines, JSON, CSV, Parquet with prompt/response, messages,
    prompt/chosen/rejected or instruction/input/output), builtin:NAME, hf:owner/name[:split] or a
    catalogue name. Without --model only the texts are measured (seconds); with --model packaged,
    a folder or a hub id also the model's losses, gradients and curvature (minutes).

    Without --safety a model's own answers to harmful probes are the safety data, and what the
    planned fine-tune does to its refusals is forecast (minutes). --training reads the
    configuration that you train with, its model and task data too. With --budget refusal=5 the
    exit code says whether the forecast keeps the budget: 0 kept, 1 broken, 3 not decided. With
    --safety and a budget both are told, and the mix is of those safety data.

    Inputs are checked together before anything is measured. With --out an interrupted estimate
    keeps its finished stages beside that folder: the same command goes on from them.

    Example: finebound estimate --safety builtin:safety --task builtin:task-general
             --proxy builtin:proxy-same-teacher --model packaged --out out

    Example: finebound estimate --training axolotl.yaml --budget refusal=5 --out out

    Example: finebound estimate --model packaged-aligned --task builtin:task-general
             --steps 200 --budget refusal=5 --out out
    """

    strategy: Literal["all", "loss", "parameter", "hybrid"] = "all"
    """Which strategies to print; the files hold all."""
    memory: float | None = None
    """GB that may be used in all (default: what is free)."""
    json: bool = False
    """Machine-readable output on stdout, nothing else there."""
    out: Path | None = None
    """Folder for estimate.json and report.html."""
    write_config: Path | None = None
    """A new file beside --training: that configuration with the option that keeps the budget."""


def main(arguments: Sequence[str]) -> int:
    options = parse(Options, arguments, verb="estimate")
    options.require(budget=bool(options.budget))
    if options.write_config is not None:
        from finebound.cli.written_config import require_forecast

        has_forecast = options.safety is None or bool(options.budget)
        require_forecast(options.training, options.write_config, has_forecast=has_forecast)
    from finebound.base.progress import bar
    from finebound.results.budget import exit_code
    from finebound.results.gate import Gate, checks_of_estimate

    with bar() as progress:
        found = run(options, progress)
    checks = checks_of_estimate(found)
    options.write([Gate(name="estimate", verb="estimate", checks=checks)])
    code = exit_code(check.decision for check in checks)
    if options.write_config is not None:
        _write_config(found, options.write_config)
    if options.json:
        print(found.to_json())
        return code
    from finebound.base.terminal import Console

    console = Console()
    if found.verdict is not None:
        from finebound.views.outlook_terminal import print_outlook

        print_outlook(found, console)
    else:
        from finebound.views.estimate_terminal import print_estimate

        print_estimate(found, console, strategy=options.strategy)
    if options.out is not None:
        from llm_validation.estimation.result import PAGE

        console.print(f"\nWritten: {options.out / PAGE}, {options.out / found.file}")
    return code


def _write_config(found: EstimateResult, to: Path) -> None:
    from finebound.cli.written_config import write
    from llm_validation.estimation.choice import choose

    write(found, choose(found), to)


def run(options: Options, progress: Progress) -> EstimateResult:
    """The estimate of the options, written into their folder; notes on stderr."""
    from finebound.views.estimate import page
    from llm_validation.data.reading import reading_lines
    from llm_validation.estimation.result import estimate

    request = Request(**{field.name: getattr(options, field.name) for field in fields(Request)})
    given = given_options(options, Options)
    with memory_allowed(options.memory):
        found = estimate(request, out=options.out, page=page, given=given, progress=progress)
    say([*reading_lines(found.reading), *(f"plan: {note}" for note in found.plan_notes)])
    return found
