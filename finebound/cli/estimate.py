"""``finebound estimate``: what a fine-tune will cost, before it is run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from finebound.base.errors import InputError
from finebound.cli.evaluations.asking import say
from finebound.cli.options import given_options, memory_allowed, parse


@dataclass(frozen=True)
class Options:
    """How much safety and capability a fine-tune must and may cost, before it is run.

    Datasets are files (JSON Lines, JSON, CSV, Parquet with prompt/response, messages,
    prompt/chosen/rejected or instruction/input/output), builtin:NAME, hf:owner/name[:split] or a
    catalogue name. Without --model only the texts are measured (seconds); with --model packaged,
    a folder or a hub id also the model's losses, gradients and curvature (minutes).

    Inputs are checked together before anything is measured. With --out an interrupted estimate
    keeps its finished stages beside that folder: the same command goes on from them.

    Example: finebound estimate --safety builtin:safety --task builtin:task-general
             --proxy builtin:proxy-same-teacher --model packaged --out out
    """

    safety: str
    """Safety data that the model was aligned on."""
    task: str
    """Task data to fine-tune on."""
    proxy: str | None = None
    """Safety data to be used in the fine-tune, if they are not the original ones."""
    model: str | None = None
    """The aligned model: "packaged", a local folder or a hub id."""
    strategy: Literal["all", "loss", "parameter", "hybrid"] = "all"
    """Which strategies to print; the files hold all."""
    lam: tuple[float, ...] = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 10.0)
    """Strengths of the proxy loss."""
    radius: tuple[float, ...] = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
    """Norms of the weights' change, of a LoRA that of s B A over its modules, as in training."""
    learning_rate: float = 2e-4
    """Learning rate of the planned fine-tune (AdamW); with --steps it limits the radius (T13)."""
    steps: int = 100
    """Optimiser steps of the planned fine-tune."""
    rows: int | None = None
    """Rows of each dataset to use, a seeded sample (default: all for the audit and for prompts
    asked in both datasets, at most 200,000 for measures of overlap)."""
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
    """Assistant turns that the model's losses count: every one, as trainers learn them, or the
    last. Text measures read the last one."""
    coordinates: Literal["adapter", "all"] = "adapter"
    """Weights that will be trained: a LoRA adapter or all."""
    forecast: bool = False
    """Forecast what the planned fine-tune will change under each lambda and radius, by a few large
    steps of it: about a tenth of its time for each. Needs --model."""
    batch_size: int = 8
    """Task rows in a step of the planned fine-tune, for --forecast; as many of the proxy."""
    memory: float | None = None
    """GB that may be used in all (default: what is free)."""
    failure_probability: float = 0.05
    """Of each statement that holds with high probability."""
    seed: int = 0
    """Seed of samples and searches."""
    json: bool = False
    """Machine-readable output on stdout, nothing else there."""
    out: Path | None = None
    """Folder for estimate.json and report.html."""


def main(arguments: Sequence[str]) -> int:
    options = parse(Options, arguments, verb="estimate")
    from finebound.base.checks import Checks
    from finebound.base.kept_stages import KeptStages
    from finebound.base.progress import bar
    from finebound.base.records import manifest, require_folder, staged_folder, to_json
    from llm_validation.data.reading import reading_lines
    from llm_validation.estimation.document import document
    from llm_validation.estimation.pipeline import estimate

    request = request_of(options)
    checks, stages = Checks(), KeptStages(options.out)
    if options.out is not None:
        checks.run(lambda: require_folder(options.out))
    with memory_allowed(options.memory), bar() as progress:
        found = estimate(request, progress=progress, checks=checks, stages=stages)
        inputs = {name: dataset.sha256 for name, dataset in found.datasets.items()}
        if found.model is not None:
            inputs["model"] = found.model.sha256
        made = manifest(given=given_options(options, Options), inputs=inputs, seed=options.seed)
        content = to_json(document(found, manifest=made))
        for out in progress([] if options.out is None else [options.out], "drawing the page"):
            from llm_validation.estimation.page import page

            html = page(found, manifest=made)
            with staged_folder(out) as folder:
                (folder / "estimate.json").write_text(content + "\n", encoding="utf-8")
                (folder / "report.html").write_text(html, encoding="utf-8")
            stages.forget()
    say(reading_lines(found.datasets))
    if options.json:
        print(content)
        return 0
    from finebound.base.terminal import Console
    from finebound.cli.estimate_table import print_estimate

    console = Console()
    print_estimate(found, console, strategy=options.strategy)
    if options.out is not None:
        console.print(f"\nWritten: {options.out / 'report.html'}, {options.out / 'estimate.json'}")
    return 0


def request_of(options):
    """The options as a ``Request``. Raises InputError for values out of range."""
    from llm_validation.estimation.request import Request

    try:
        return Request(
            safety=options.safety,
            task=options.task,
            proxy=options.proxy,
            model=options.model,
            lams=options.lam,
            radii=options.radius,
            learning_rate=options.learning_rate,
            steps=options.steps,
            rows=options.rows,
            model_rows=options.model_rows,
            max_length=options.max_length,
            drop_unusable=options.drop_unusable,
            ignore_columns=options.ignore_columns,
            drop_long=options.drop_long,
            truncate=options.truncate,
            turns=options.turns,
            coordinates=options.coordinates,
            forecast=options.forecast,
            batch_size=options.batch_size,
            failure_probability=options.failure_probability,
            seed=options.seed,
        )
    except ValueError as error:
        raise InputError(str(error), remedy="See `finebound estimate --help`.") from None
