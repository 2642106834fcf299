"""``finebound finetune``: one run of an experiment, beside the bounds computed for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from finebound.cli.options import parse
from finebound.errors import InputError


@dataclass(frozen=True)
class Options:
    """One fine-tune of an experiment, from the aligned model to its comparison with the bounds.

    CONFIG is what `finebound validate` takes. With more than one run in it, --run names which;
    the folder is the same as that command's, so a grid finds the run done.

    Example: finebound finetune smoke --run general_none_lora_s0 --out smoke-out
    """

    config: Positional[str]
    """Configuration file, or the name of one."""
    out: Path
    """Folder of the experiment."""
    run: str | None = None
    """Id of the run, as `finebound validate CONFIG --dry-run` lists them."""
    json: bool = False
    """Machine-readable output on stdout, nothing else there."""


def main(arguments: Sequence[str]) -> int:
    options = parse(Options, arguments, verb="finetune")
    from llm_validation.experiments.config import expand, find_run, read_experiment

    experiment = read_experiment(options.config)
    runs = expand(experiment)
    if options.run is None and len(runs) > 1:
        raise InputError(
            f"the experiment has {len(runs)} runs.",
            remedy=f"Name one with --run, for example --run {runs[0].id}, or use "
            "`finebound validate`.",
        )
    chosen = runs[0] if options.run is None else find_run(runs, options.run)
    from finebound.progress import bar
    from finebound.records import to_json
    from llm_validation.experiments.validation import validate

    with bar() as progress:
        found = validate(experiment, options.out, only=chosen.id, progress=progress)
    if options.json:
        print(to_json(found.as_json()))
    else:
        from finebound.cli.validate_table import print_validation

        print_validation(found)
    return 0 if found.passed else 1
