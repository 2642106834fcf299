"""``finebound calibrate``: which lambda, which radius keeps a safety budget."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from finebound.base.errors import InputError
from finebound.cli.options import StrategyKind, given_options, parse, say

if TYPE_CHECKING:
    from llm_validation.data.dataset import Dataset
    from theory.calibrate import Calibration

    # What was found, the hashes of its inputs, its unit, and the data by role.
    _Found = tuple[Calibration, dict[str, str], str, dict[str, Dataset]]


@dataclass(frozen=True)
class Options:
    """The least constraining strategy whose bound on the safety loss keeps a budget.

    The problem is a PROBLEM.json (see `finebound bound --help`), or the inputs of
    `finebound estimate`: two datasets and a model. Searches the smallest lambda (or the largest
    radius), erring on the safe side. Exit code 1 if no strategy of the range keeps the budget.

    Example: finebound calibrate --problem PROBLEM.json --budget 0.1 --strategy loss

    Example: finebound calibrate --safety builtin:safety --task builtin:task-code
             --model packaged --budget 0.05 --strategy parameter
    """

    budget: float
    """Safety budget: a gap in nats (a problem), or a rise of the safety loss in nats per token."""
    problem: Path | None = None
    """A problem file, instead of datasets and a model."""
    safety: str | None = None
    """Safety data that the model was aligned on."""
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
    learning_rate: float = 2e-4
    """Learning rate of the planned fine-tune (AdamW); with --steps it limits the radius (T13)."""
    steps: int = 100
    """Optimiser steps of the planned fine-tune."""
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


def main(arguments: Sequence[str]) -> int:
    options = parse(Options, arguments, verb="calibrate")
    from finebound.base.records import manifest, require_folder
    from finebound.results.calibrate import CalibrateResult
    from finebound.results.result import Manifest
    from llm_validation.data.reading import data_readings

    if options.out is not None:
        require_folder(options.out)
    if options.radius is not None and options.strategy != "hybrid":
        raise InputError(
            f"--radius does not belong to --strategy {options.strategy}.",
            remedy="It fixes the radius of --strategy hybrid, whose lambda is searched.",
        )
    found, inputs, unit, datasets = (
        _from_problem(options) if options.problem else _from_data(options)
    )
    made = manifest(given=given_options(options, Options), inputs=inputs, seed=options.seed)
    result = CalibrateResult.of_theory(
        found, unit=unit, manifest=Manifest(**made), reading=data_readings(datasets)
    )
    if options.out is not None:
        result.save(options.out)
    print(result.to_json() if options.json else result.summary())
    return 0 if result.strategy is not None else 1


def _from_problem(options: Options) -> _Found:
    import numpy as np

    from finebound.base.problem_file import read_problem, tell_size
    from finebound.base.records import file_sha256
    from theory.calibrate import calibrate

    surplus = [n for n in ("safety", "task", "proxy", "model") if getattr(options, n) is not None]
    if surplus:
        raise InputError(
            f"--problem and --{surplus[0]} exclude each other.",
            remedy="Give a problem file, or datasets and a model.",
        )
    problem = read_problem(options.problem)
    tell_size(problem, times=20)
    with _as_input_error(), np.errstate(all="ignore"):
        found = calibrate(
            problem,
            options.budget,
            options.strategy,
            radius=options.radius,
            allow_estimated=options.allow_estimated,
        )
    return found, {"problem": file_sha256(options.problem)}, "nats", {}


def _from_data(options: Options) -> _Found:
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
            request, options.budget, options.strategy, radius=options.radius, progress=progress
        )
    say(reading_lines(datasets))
    return found, inputs, "nats/token", datasets


@contextmanager
def _as_input_error() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise InputError(str(error), remedy="See `finebound calibrate --help`.") from None
