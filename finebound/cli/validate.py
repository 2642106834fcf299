"""``finebound validate``: a grid of real fine-tunes, each beside the bounds computed for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tyro.conf import Positional

from finebound.base.errors import InputError
from finebound.base.text import show
from finebound.cli.options import memory_allowed, parse

if TYPE_CHECKING:
    from finebound.results.experiment import ExperimentResult
    from llm_validation.experiments.config import Experiment


@dataclass(frozen=True)
class Options:
    """Fine-tune a model under every strategy of a grid and put each run beside its bounds.

    Aligns the model, measures the constants of the bounds, runs what is not done yet and says
    which bounds held, how tightly, and which of the paper's findings were confirmed. What was
    killed goes on at the next start: a run saves a checkpoint about every minute. Exit code 1 if a
    certified bound is violated or a run fails.

    CONFIG is a JSON or YAML file or one of smoke, small, gpu_small, paper_orca, forecasts,
    defence_regimes, peft_safety_fairness, translation_degradation (the last two also with _wide,
    more settings in the same folder, and _full, for GPUs). Its entries: name, model, safety, tasks
    {name: data or a mix {benign, harmful, share}}, proxies {original | same-teacher |
    self-generated | other-teacher: data}, methods {name: full, lora, qlora, ia3, prompt-tuning or
    p-tuning, SFT or DPO}, rows {safety, task, proxy, held_out, max_length}, alignment (a training
    plan, or null: the model as it is), adapter (the model's own, merged first), training (a plan),
    grid [{tasks, proxies, methods, seeds, unconstrained, lam, epsilon, radius, hybrid, soft}],
    behaviour {refusal, hazards, bbq, translation}, landscape, forecast, minutes, fit_minutes, seed.

    Where behaviour was evaluated, the page report.html and the figures are written beside
    validate.json; elsewhere `finebound report` writes the page.

    Example: finebound validate smoke --out smoke-out
    """

    config: Positional[str]
    """Configuration file, or the name of one."""
    out: Path | None = None
    """Folder of the experiment; an experiment that is there goes on."""
    executor: Literal["local", "process", "ray"] = "local"
    """Where runs run: in this process, in processes of their own, or on a Ray cluster."""
    workers: int = 1
    """Processes at a time, for --executor process."""
    address: str | None = None
    """The Ray cluster's address ("auto": the running one), for --executor ray."""
    minutes: float | None = None
    """What all of it may take: rows and steps become fewer on a slower machine, by a measured step
    (default: the configuration's fit_minutes)."""
    full_size: bool = False
    """Every row and step of the configuration, however long it takes."""
    memory: float | None = None
    """GB that each process may use (default: what is free). What does not fit is left out by name,
    a training that does not fit is not begun."""
    dry_run: bool = False
    """Check the configuration and list the runs; nothing is loaded, downloaded or written."""
    json: bool = False
    """Machine-readable output on stdout, nothing else there."""


def main(arguments: Sequence[str]) -> int:
    options = parse(Options, arguments, verb="validate")
    _refuse(options)
    from finebound.base.records import to_json
    from llm_validation.experiments.config import expand, plan_of, read_experiment

    experiment = _sized(read_experiment(options.config), options)
    out = options.out
    if out is None or options.dry_run:
        planned = plan_of(expand(experiment))
        if options.json:
            print(to_json({"runs": planned, "bounds": {"held": 0, "violated": 0, "vacuous": 0}}))
        else:
            from finebound.views.experiment import plan
            from finebound.views.experiment_terminal import print_table

            print_table(plan(title_of(experiment, planned), planned))
        return 0
    from finebound.api import validate
    from finebound.base.progress import bar

    with memory_allowed(options.memory), bar() as progress:
        result = validate(
            experiment,
            out=out,
            executor=options.executor,
            workers=options.workers,
            address=options.address,
            progress=progress,
        )
    tell_result(result, out, as_json=options.json)
    if result.behaviour is not None:
        from finebound.cli.report import write_report

        written = write_report(result, out, out)
        if not options.json:
            show(f"Written: {', '.join(map(str, written))}")
    return 0 if result.passed else 1


def tell_result(result: ExperimentResult, folder: Path, *, as_json: bool) -> None:
    """What was found, on stdout."""
    if as_json:
        from finebound.base.records import to_json

        print(to_json(result.found))
    else:
        from finebound.views.experiment_terminal import print_experiment

        print_experiment(result, folder)


def title_of(experiment: Experiment, runs: Sequence[object]) -> str:
    """Of the table of an experiment that has not begun."""
    told = f"{experiment.name}: {len(runs)} runs of {experiment.model}. {experiment.description}"
    return told.strip()


def _sized(experiment: Experiment, options: Options) -> Experiment:
    """The experiment with the minutes that it is to fit into, if any."""
    if options.full_size:
        return experiment.model_copy(update={"fit_minutes": None})
    if options.minutes is None:
        return experiment
    return experiment.model_copy(update={"fit_minutes": options.minutes})


def _refuse(options: Options) -> None:
    if options.out is None and not options.dry_run:
        raise InputError("the runs need a folder.", remedy="Give one with --out, or use --dry-run.")
    if options.minutes is not None and not 0.0 < options.minutes < float("inf"):
        raise InputError(f"--minutes is {options.minutes}.", remedy="Give a number above 0.")
    if options.minutes is not None and options.full_size:
        raise InputError("--minutes and --full-size are both given.", remedy="Give one of them.")
    if options.workers < 1:
        raise InputError(f"--workers is {options.workers}.", remedy="Give at least 1 process.")
    if options.workers > 1 and options.executor != "process":
        raise InputError(
            f"--workers does not belong to --executor {options.executor}.",
            remedy="Use --executor process.",
        )
    if options.address is not None and options.executor != "ray":
        raise InputError(
            f"--address does not belong to --executor {options.executor}.",
            remedy="Use --executor ray.",
        )
