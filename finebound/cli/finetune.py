"""``finebound finetune``: one fine-tune, measured, beside the bounds computed for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from tyro.conf import Positional

from finebound.base.errors import InputError
from finebound.cli.options import memory_allowed, parse, with_flags
from finebound.cli.validate import tell_result, title_of
from llm_validation.experiments.one_run_options import OneRun

if TYPE_CHECKING:
    from llm_validation.experiments.config import Experiment, RunConfig


@dataclass(frozen=True)
class _Place:
    """What is run, and where."""

    config: Positional[str | None] = None
    """Configuration file, or the name of one."""
    out: Path | None = None
    """Folder of the run; one that is there goes on."""
    run: str | None = None
    """With CONFIG: id of the run, as `finebound validate CONFIG --dry-run` lists them."""


@dataclass(frozen=True)
class Options(OneRun, _Place):
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

    memory: float | None = None
    """GB that may be used in all (default: what is free). What does not fit is left out by name, a
    training that does not fit is not begun."""
    dry_run: bool = False
    """Check everything and print the plan; no weight is read and nothing is written."""
    json: bool = False
    """Machine-readable output on stdout, nothing else there."""


def main(arguments: Sequence[str]) -> int:
    options = parse(Options, arguments, verb="finetune")
    out = options.out
    if out is None and not options.dry_run:
        raise InputError("the run needs a folder.", remedy="Give one with --out, or use --dry-run.")
    experiment, notes, run = _asked(options)
    if out is None or options.dry_run:
        _print_plan(options, experiment, run, notes)
        return 0
    from finebound.base.errors import tell
    from finebound.base.progress import bar
    from finebound.base.records import require_folder

    require_folder(out)
    for note in notes:
        tell(note)
    from finebound.api import validate

    with memory_allowed(options.memory), bar() as progress:
        result = validate(experiment, out=out, only=run.id, progress=progress)
    tell_result(result, out, as_json=options.json)
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

        planned = plan_one_run(options)
        notes = tuple(with_flags(note, Options) for note in planned.notes)
        return planned.experiment, notes, expand(planned.experiment)[0]
    experiment = _read_beside(options, options.config)
    runs = expand(experiment)
    if options.run is None and len(runs) > 1:
        raise InputError(
            f"the experiment has {len(runs)} runs.",
            remedy=f"Name one with --run, for example --run {runs[0].id}, or use "
            "`finebound validate`.",
        )
    return experiment, (), runs[0] if options.run is None else find_run(runs, options.run)


def _read_beside(options: Options, config: str) -> Experiment:
    from llm_validation.experiments.config import read_experiment

    given = [f"`{f.name}`" for f in fields(OneRun) if getattr(options, f.name) != f.default]
    if given:
        raise InputError(
            f"{', '.join(given)} {'is' if len(given) == 1 else 'are'} given beside a "
            "configuration, which says that itself.",
            remedy="Change the configuration, or leave it out and give the options alone.",
        )
    return read_experiment(config)
