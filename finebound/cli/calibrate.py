"""``finebound calibrate``: the mildest way to train that keeps a safety budget."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from finebound.base.errors import InputError
from finebound.cli.options import StrategyKind, given_options, parse, say

if TYPE_CHECKING:
    from llm_validation.data.dataset import Dataset
    from theory.calibrate import Calibration

    # What was found, the hashes of its inputs, its unit, and the data by role.
    _Found = tuple[Calibration, dict[str, str], str, dict[str, Dataset]]


@dataclass(frozen=True)
class Options:
    """The mildest way to train that keeps a safety budget.

    By forecast: of the options of an estimate (--from) the most capable one that keeps the budget,
    what is sure about it, and how to apply it. With --model and --task, without --safety, that
    estimate is made first; for its other settings use `finebound estimate`. Exit code 0: kept, 1:
    every option breaks the budget, 3: not decided.

    By bounds: the smallest lambda (or the largest radius) whose bound on the safety loss keeps the
    budget, erring on the safe side. The problem is a PROBLEM.json (see `finebound bound --help`),
    or two datasets and a model. Exit code 1 if no strategy of the range keeps the budget.

    Example: finebound calibrate --from out/estimate.json --budget refusal=5

    Example: finebound calibrate --model packaged-aligned --task builtin:task-general
             --training axolotl.yaml --budget refusal=5 --out out

    Example: finebound calibrate --problem PROBLEM.json --budget 0.1 --strategy loss

    Example: finebound calibrate --safety builtin:safety --task builtin:task-code
             --model packaged --budget 0.05 --strategy parameter
    """

    budget: tuple[str, ...] = ()
    """What may be lost. By forecast: refusal=5 or over-refusal=5 (points), loss=0.05 (nats per
    token); default: that of the estimate. By bounds, a number: a gap in nats (a problem), or a rise
    of the safety loss in nats per token."""
    estimate: Annotated[Path | None, tyro.conf.arg(name="from")] = None
    """An estimate.json with a forecast of refusals, or its folder."""
    problem: Path | None = None
    """A problem file, instead of datasets and a model."""
    safety: str | None = None
    """Safety data that the model was aligned on; the bounds then decide."""
    task: str | None = None
    """Task data to fine-tune on."""
    proxy: str | None = None
    """Safety data to be used in the fine-tune, if they are not the original ones."""
    model: str | None = None
    """The aligned model: "packaged", a local folder or a hub id."""
    strategy: StrategyKind = "loss"
    """What to search: lambda (loss), radius (parameter), lambda at --radius (hybrid)."""
    radius: float | None = None
    """The hybrid's radius: norm of the weights' change, of a LoRA that of s B A, as in training."""
    probes: str = "builtin:pairs"
    """For a forecast: harmful probes and harmless look-alikes that the model is asked."""
    training: str | None = None
    """Training configuration: a file of transformers, TRL, PEFT, axolotl, LLaMA-Factory or
    finebound. The settings below say the same and win."""
    learning_rate: float | None = None
    """Learning rate of the planned fine-tune (default: 2e-4); with --steps it limits the radius
    (T13)."""
    steps: int | None = None
    """Optimiser steps of the planned fine-tune (default: 100)."""
    model_rows: int = 256
    """Rows of each dataset to measure the model on, a seeded sample."""
    drop_unusable: bool = False
    """Leave out rows that cannot be read as an example instead of refusing the file."""
    ignore_columns: tuple[str, ...] = ()
    """Columns to leave unread, though they look like a part of what is asked or answered."""
    max_length: int | None = None
    """Longest row in tokens (default: the model's context)."""
    drop_long: bool = False
    """Leave out rows with more tokens than that, instead of refusing the file."""
    truncate: bool = False
    """Cut such rows to their first tokens, as trainers do."""
    turns: Literal["all", "last"] = "all"
    """Assistant turns that the losses count: every one, as trainers learn them, or the last."""
    coordinates: Literal["adapter", "all"] = "adapter"
    """Weights that will be trained: a LoRA adapter or all."""
    allow_estimated: bool = False
    """With a problem: let bounds that rest on estimated constants count (with a model they do)."""
    seed: int = 0
    """Seed of samples and searches."""
    json: bool = False
    """Machine-readable output on stdout, nothing else there."""
    out: Path | None = None
    """Also write calibrate.json into this folder."""
    write_config: Path | None = None
    """By forecast: a new file beside the training file, that configuration with the choice."""


_OF_BOUNDS = ("strategy", "radius", "allow_estimated")
_OF_ALL = ("budget", "json", "out", "write_config")


def main(arguments: Sequence[str]) -> int:
    options = parse(Options, arguments, verb="calibrate")
    from finebound.base.records import manifest, require_folder
    from finebound.results.calibrate import CalibrateResult
    from finebound.results.result import Manifest
    from llm_validation.data.reading import data_readings

    if options.out is not None:
        require_folder(options.out)
    if options.problem is None and options.safety is None:
        return _by_forecast(options)
    if options.radius is not None and options.strategy != "hybrid":
        raise InputError(
            f"--radius does not belong to --strategy {options.strategy}.",
            remedy="It fixes the radius of --strategy hybrid, whose lambda is searched.",
        )
    if options.write_config is not None:
        raise InputError(
            "--write-config writes the choice of a forecast, and a bound is asked for.",
            remedy="Leave it out, or leave --problem and --safety out.",
        )
    budget = _number(options)
    found, inputs, unit, datasets = (
        _from_data(options, budget)
        if options.problem is None
        else _from_problem(options, options.problem, budget)
    )
    given = given_options(options, Options) | {"budget": budget}
    made = manifest(given=given, inputs=inputs, seed=options.seed)
    result = CalibrateResult.of_theory(
        found, unit=unit, manifest=Manifest(**made), reading=data_readings(datasets)
    )
    if options.out is not None:
        result.save(options.out)
    print(result.to_json() if options.json else result.summary())
    return 0 if result.strategy is not None else 1


def _by_forecast(options: Options) -> int:
    from finebound.api import calibrate, estimate
    from finebound.base.progress import bar
    from finebound.results.budget import exit_code
    from finebound.results.estimate import EstimateResult
    from llm_validation.data.reading import reading_lines
    from llm_validation.estimation.request import Request, budgets_of

    budgets_of(options.budget)  # rejected here, before any work
    given = given_options(options, Options)
    surplus = [name for name in given if name not in (*_OF_ALL, "estimate")]
    settings: dict[str, Any] = {}
    if options.estimate is None:
        own = {field.name for field in fields(Request)}
        settings = {name: given[name] for name in surplus if name in own - {"budget", "radius"}}
        surplus = [name for name in surplus if name not in settings]
        if not (options.model and options.task) and options.training is None:
            raise InputError(
                f"--{'model' if options.task else 'task' if options.model else 'from'} is missing.",
                remedy="Give --from estimate.json, --model and --task for a forecast, --problem "
                "FILE for a bound, or --safety, --task and --model for a bound on a model.",
            )
    if surplus:
        flag = "--" + surplus[0].replace("_", "-")
        raise InputError(
            f"{flag} says nothing to a forecast{' that was made' if options.estimate else ''}.",
            remedy="It is for bounds: give --problem or --safety with it, or leave it out."
            if surplus[0] in _OF_BOUNDS
            else "Leave --from or it out.",
        )
    source = None if options.estimate is None else EstimateResult.load(options.estimate)
    if options.write_config is not None:
        from finebound.cli.written_config import require_forecast

        training = (source.request or {}).get("training") if source else options.training
        require_forecast(training, options.write_config)
    if source is None:
        with bar() as progress:
            source = estimate(**settings, budget=options.budget, out=options.out, progress=progress)
        say(reading_lines(source.reading))
    found = calibrate(options.estimate or source, options.budget, out=options.out)
    if options.write_config is not None:
        from finebound.cli.written_config import write

        write(source, found, options.write_config)
    if options.json:
        print(found.to_json())
    else:
        from finebound.base.terminal import Console
        from finebound.views.choice_terminal import print_choice

        print_choice(found, Console())
    return exit_code([found.decision])


def _number(options: Options) -> float:
    """The budget of a bound. Raises InputError for none, several, and one of a forecast."""
    if len(options.budget) != 1:
        raise InputError(
            "--budget is missing." if not options.budget else "--budget is several.",
            remedy="Give one number for a bound.",
        )
    try:
        return float(options.budget[0])
    except ValueError:
        raise InputError(
            f"--budget is {options.budget[0]!r}, and a bound's budget is a number.",
            remedy="Give nats, or leave --problem and --safety out for a forecast of refusals.",
        ) from None


def _from_problem(options: Options, file: Path, budget: float) -> _Found:
    import numpy as np

    from finebound.base.problem_file import read_problem, tell_size
    from finebound.base.records import file_sha256
    from theory.calibrate import calibrate

    others = ("estimate", "safety", "task", "proxy", "model", "training")
    surplus = [name for name in others if getattr(options, name) is not None]
    if surplus:
        raise InputError(
            f"--problem and --{surplus[0].replace('estimate', 'from')} exclude each other.",
            remedy="Give a problem file, or datasets and a model.",
        )
    problem = read_problem(file)
    tell_size(problem, times=20)
    with _as_input_error(), np.errstate(all="ignore"):
        found = calibrate(
            problem,
            budget,
            options.strategy,
            radius=options.radius,
            allow_estimated=options.allow_estimated,
        )
    return found, {"problem": file_sha256(file)}, "nats", {}


def _from_data(options: Options, budget: float) -> _Found:
    if options.estimate is not None:
        raise InputError(
            "--safety and --from exclude each other.", remedy="Give an estimate, or its inputs."
        )
    missing = [n for n in ("safety", "task", "model") if getattr(options, n) is None]
    if missing:
        raise InputError(
            f"--{missing[0]} is missing.",
            remedy="Give --problem FILE, or --safety, --task and --model.",
        )
    from finebound.base.progress import bar
    from llm_validation.data.reading import reading_lines
    from llm_validation.estimation.calibration import calibrate_model
    from llm_validation.estimation.request import Request

    # Its --radius is the hybrid's, its --budget a number.
    names = {field.name for field in fields(Request)} & set(vars(options)) - {"radius", "budget"}
    request = Request(**{name: getattr(options, name) for name in names})
    with bar() as progress, _as_input_error():
        found, inputs, datasets = calibrate_model(
            request, budget, options.strategy, radius=options.radius, progress=progress
        )
    say(reading_lines(datasets))
    return found, inputs, "nats/token", datasets


@contextmanager
def _as_input_error() -> Generator[None]:
    try:
        yield
    except ValueError as error:
        raise InputError(str(error), remedy="See `finebound calibrate --help`.") from None
