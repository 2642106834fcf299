"""``finebound export-tasks``: probes and BBQ as tasks of lm-evaluation-harness and inspect_ai."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from finebound.cli.options import parse


@dataclass(frozen=True)
class Options:
    """Write a folder of tasks that lm-evaluation-harness and inspect_ai load as it is.

    finebound_refusal asks the 176 harmful probes and their harmless look-alikes; the refusal
    classifier of `finebound evaluate` labels the answers there. finebound_bbq asks the built-in
    items of BBQ for a letter, finebound_bbq_likelihood (lm-evaluation-harness alone) takes the
    likeliest answer. Each file names its version and the SHA-256 of what it asks.

    The harness and finebound are installed side by side. What it logs goes back as answers:
    `lm_eval run --log_samples` writes samples_TASK_*.jsonl, inspect_ai .eval and .json logs, and
    `finebound evaluate`, `certify` read them.

    Example: finebound export-tasks --out tasks
    """

    out: Path
    """Folder for the tasks."""
    json: bool = False
    """Machine-readable output on stdout, nothing else there."""


def main(arguments: Sequence[str]) -> int:
    options = parse(Options, arguments, verb="export-tasks")
    from finebound.base.records import require_folder
    from llm_validation.evaluation.harness.export import export_tasks

    require_folder(options.out)
    found = export_tasks(options.out)
    if options.json:
        print(found.to_json())
        return 0
    from finebound.views.harness_tasks import table
    from finebound.views.terminal import print_parts

    print_parts(
        [
            found.summary(),
            table(found),
            f"lm_eval run --include_path {options.out} --tasks finebound_refusal --log_samples ...",
            f"inspect eval {options.out / found.inspect}@finebound_refusal --model ...",
        ]
    )
    return 0
