"""``finebound finetune``: one fine-tune, measured, beside the bounds computed for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tyro.conf import Positional

from finebound.base.errors import InputError
from finebound.cli.options import memory_allowed, parse
from finebound.cli.validate import tell_result, title_of

if TYPE_CHECKING:
    from llm_validation.experiments.config import Experiment, RunConfig
    from llm_validation.experiments.one_run import OneRun


@dataclass(frozen=True)
class Options:
    """One fine-tune of a model as it is: measured before and after, beside its bounds.

    Without CONFIG the options say what is trained on what. The model is taken as it is, nothing is
    trained on safety rows first. The folder is laid out as that of `finebound validate`:
    `finebound report`, `compare` and `defend --compare` read it, and its experiment.json is a
    CONFIG that makes the same run again. An interrupted run goes on when the command is given
    again.

    With CONFIG (what `finebound validate` takes) one run of that experiment is made; --run names
    which.

    Example: finebound finetune --model packaged --task builtin:task-general --steps 20 --out out

    Example: finebound finetune --model ./my-chat-model --task rows.jsonl --method lora --rank 16
             --epochs 3 --learning-rate 1e-4 --schedule cosine --warmup 10 --out out

    Example: finebound finetune out/experiment.json --out again

    Example: finebound finetune smoke --run general_none_lora_s0 --out smoke-out
    """

    config: Positional[str | None] = None
    """Configuration file, or the name of one."""
    out: Path | None = None
    """Folder of the run; one that is there goes on."""
    run: str | None = None
    """With CONFIG: id of the run, as `finebound validate CONFIG --dry-run` lists them."""
    model: str | None = None
    """The aligned model: "packaged", a local folder or a hub id."""
    adapter: str | None = None
    """The model's own LoRA or IA3 adapter, merged into it first."""
    task: str | None = None
    """Rows to fine-tune on: a file, builtin:NAME, hf:owner/name[:split] or a catalogue name."""
    safety: str | None = None
    """Rows that safety is measured on (default: the built-in safety set)."""
    proxy: str | None = None
    """Safety rows that are trained on beside the task, weighted by --lam (default with --lam: the
    rows of --safety)."""
    method: Literal["lora", "qlora", "full", "ia3", "prompt-tuning", "p-tuning"] = "lora"
    """What is trained."""
    rank: int | None = None
    """Of a LoRA (default: 8)."""
    alpha: float | None = None
    """Of a LoRA (default: twice the rank)."""
    targets: tuple[str, ...] | None = None
    """Modules that are adapted (default: q_proj v_proj; all-linear where there are none)."""
    objective: Literal["sft", "dpo"] | None = None
    """Supervised answers, or preference pairs (default: sft)."""
    beta: float | None = None
    """Of DPO (default: 0.1)."""
    epochs: float | None = None
    """Passes over the task's training rows (default: 1)."""
    steps: int | None = None
    """Optimiser steps, instead of --epochs."""
    batch_size: int = 8
    """Task rows of a whole optimiser step."""
    gradient_accumulation: int = 1
    """Parts that a step is cut into; changes memory alone."""
    learning_rate: float | None = None
    """Default: 2e-4 for lora and qlora, 2e-5 for full, 3e-3 for ia3, 3e-2 for prompt-tuning, 1e-3
    for p-tuning; a twentieth of that with dpo."""
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """Of the learning rate, after the warm-up."""
    warmup: int = 0
    """Steps in which the learning rate rises from 0."""
    weight_decay: float = 0.0
    """AdamW's."""
    max_length: int | None = None
    """Longest row in tokens; longer ones are left out (default: the model's context)."""
    lam: float | None = None
    """Weight of the safety rows' loss: a loss constraint."""
    radius: float | None = None
    """Largest change of the weights, in their norm: a parameter constraint."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """What is computed in; auto: bfloat16 where the machine has the instructions for it."""
    rows: int | None = None
    """Most task rows to train on, a seeded sample (default: all but the held-out ones)."""
    held_out: int = 48
    """Rows of task and safety that are only measured on, at most half of each."""
    drop_unusable: bool = False
    """Leave out rows that cannot be read as an example instead of refusing the file."""
    ignore_columns: tuple[str, ...] = ()
    """Columns to leave unread, though they look like a part of what is asked or answered."""
    skip: tuple[Literal["landscape", "forecast", "answers"], ...] = ()
    """What is not measured: the constants of some bounds, the forecasts, the answers."""
    seed: int = 0
    """Seed of samples and of the training."""
    memory: float | None = None
    """GB that may be used in all (default: what is free). What does not fit is left out by name, a
    training that does not fit is not begun."""
    dry_run: bool = False
    """Check everything and print the plan; no weight is read and nothing is written."""
    json: bool = False
    """Machine-readable output on stdout, nothing else there."""


_OF_BOTH = ("config", "out", "run", "memory", "dry_run", "json")


def main(arguments: Sequence[str]) -> int:
    options = parse(Options, arguments, verb="finetune")
    if options.out is None and not options.dry_run:
        raise InputError("the run needs a folder.", remedy="Give one with --out, or use --dry-run.")
    experiment, notes, run = _asked(options)
    if options.dry_run:
        _print_plan(options, experiment, run, notes)
        return 0
    from finebound.base.errors import tell
    from finebound.base.progress import bar
    from finebound.base.records import require_folder

    require_folder(options.out)
    for note in notes:
        tell(note)
    from finebound.api import validate

    with memory_allowed(options.memory), bar() as progress:
        result = validate(experiment, out=options.out, only=run.id, progress=progress)
    tell_result(result, options.out, as_json=options.json)
    return 0 if result.passed else 1


def _print_plan(
    options: Options, experiment: Experiment, run: RunConfig, notes: Sequence[str]
) -> None:
    """What would be made: as JSON, or as sentences and the settings that are no defaults."""
    from finebound.base.records import to_json
    from llm_validation.experiments.config import plan_of

    planned = plan_of([run])
    if options.json:
        whole = experiment.model_dump(mode="json")
        print(to_json({"experiment": whole, "runs": planned, "notes": notes}))
        return
    from finebound.base.terminal import Console
    from finebound.views.experiment import plan
    from finebound.views.experiment_terminal import print_table

    print_table(plan(title_of(experiment, planned), planned))
    console = Console(soft_wrap=True)
    given = ", ".join(f"{name} {_plain(value)}" for name, value in run.given.items())
    console.print(f"Plan: {given}; everything else is the default.", markup=False)
    for note in notes:
        console.print(note, markup=False)


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return " ".join(f"{name} {_plain(item)}" for name, item in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _asked(options: Options) -> tuple[Experiment, tuple[str, ...], RunConfig]:
    """The experiment, what is to be told of it, and the run that is made of it."""
    from llm_validation.experiments.config import expand, find_run

    if options.config is None:
        if options.run is not None:
            raise InputError(
                "--run is given without a configuration.",
                remedy="It names a run of a configuration: give that too, or leave --run out.",
            )
        from llm_validation.experiments.one_run import plan_one_run

        planned = plan_one_run(_one_run(options))
        return planned.experiment, planned.notes, expand(planned.experiment)[0]
    experiment = _read_beside(options)
    runs = expand(experiment)
    if options.run is None and len(runs) > 1:
        raise InputError(
            f"the experiment has {len(runs)} runs.",
            remedy=f"Name one with --run, for example --run {runs[0].id}, or use "
            "`finebound validate`.",
        )
    return experiment, (), runs[0] if options.run is None else find_run(runs, options.run)


def _read_beside(options: Options) -> Experiment:
    from llm_validation.experiments.config import read_experiment
    from llm_validation.experiments.one_run import options_with_a_file

    surplus = [
        f.name
        for f in fields(Options)
        if f.name not in _OF_BOTH and getattr(options, f.name) != f.default
    ]
    if surplus:
        raise options_with_a_file(surplus)
    return read_experiment(options.config)


def _one_run(options: Options) -> OneRun:
    from llm_validation.experiments.one_run import OneRun

    return OneRun(**{f.name: getattr(options, f.name) for f in fields(OneRun)})
