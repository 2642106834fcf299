"""One run in a process of its own: ``python -m llm_validation.experiments.worker OUT RUN``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from finebound.base.errors import InputError
from finebound.base.progress import Progress, silent
from llm_validation.experiments.attempts import attempt, locked
from llm_validation.experiments.config import Experiment, RunConfig, expand, experiment_of, find_run
from llm_validation.experiments.prepare import Prepared, read_prepared
from llm_validation.experiments.run import execute, is_done, run_folder

EXPERIMENT = "experiment.json"
REFUSED = 2
"""Exit code of a run that fails again however often it is tried."""


def work(run: RunConfig, prepared: Prepared, *, progress: Progress = silent) -> None:
    """Execute a run as a recorded attempt; one that another worker finishes meanwhile is done.

    A worker may outlive the grid that began it, and the next start wants the same run.
    """
    folder = run_folder(prepared.out, run.id)
    with locked(folder, wait=True):
        if is_done(run, prepared):
            return
        with attempt(folder):
            execute(run, prepared, progress=progress)


def work_on(out: Path, run_id: str) -> None:
    """Execute one run of the experiment that was prepared in ``out``."""
    run_folder(out, run_id)  # refuses an id that leaves the folder
    experiment = _experiment_in(out)
    work(find_run(expand(experiment), run_id), read_prepared(experiment, out))


def _experiment_in(out: Path) -> Experiment:
    file = out / EXPERIMENT
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"the experiment cannot be read: {error}. Every worker needs the experiment's folder, "
            "under the same path.",
            remedy="Put `out` on a file system that all machines of the cluster share.",
            file=file,
        ) from None
    return experiment_of(content, file=file)


def main(arguments: list[str]) -> int:
    out, run_id = arguments
    try:
        work_on(Path(out), run_id)
    except InputError as error:
        print(error, file=sys.stderr)
        return REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
