"""The runs of an experiment, executed: finished ones skipped, killed ones tried again."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from finebound.base.errors import InputError
from finebound.base.progress import Progress, silent
from finebound.base.writing import open_to_append
from llm_validation.experiments.attempts import (
    MOST_ATTEMPTS,
    NO_DEADLINE,
    Clock,
    locked,
    mark_killed,
    read_attempts,
)
from llm_validation.experiments.config import RunConfig
from llm_validation.experiments.prepare import Prepared
from llm_validation.experiments.run import is_done, run_folder
from llm_validation.experiments.worker import REFUSED, work

ExecutorName = Literal["local", "process", "ray"]
RunStatus = Literal["done", "failed", "pending"]
_LOG = "worker.log"


@dataclass(frozen=True)
class Outcome:
    """What became of a run: ``attempts`` are all of its record's, earlier starts' included."""

    run: RunConfig
    status: RunStatus
    error: str | None
    attempts: tuple[dict[str, Any], ...]


def run_grid(
    prepared: Prepared,
    runs: Sequence[RunConfig],
    *,
    chosen: Collection[str] | None = None,
    executor: ExecutorName = "local",
    workers: int = 1,
    address: str | None = None,
    progress: Progress = silent,
) -> list[Outcome]:
    """Execute what is not done yet (of the ``chosen`` ids, if given); a failed run stops no other.

    ``local`` executes here one by one, ``process`` in ``workers`` processes (each with a GPU of
    its own where there are several), ``ray`` on the cluster at ``address``. A killed worker's run
    is tried again, up to three times in all; one that was refused is not. After the experiment's
    ``minutes`` no further run is begun. Raises InputError, before anything is run, for a folder
    of another configuration, and when another process works in it.
    """
    for run in runs:
        is_done(run, prepared)  # refuses another configuration's folder
    minutes = prepared.experiment.minutes
    deadline = None if minutes is None else time.monotonic() + 60.0 * minutes
    clock = Clock(deadline)
    with locked(prepared.out, wait=False):
        for run in runs:
            mark_killed(run_folder(prepared.out, run.id))
        wanted = {run.id for run in runs} if chosen is None else set(chosen)
        todo = [run for run in runs if run.id in wanted and not is_done(run, prepared)]
        if executor == "local":
            errors = _run_here(prepared, todo, clock, progress)
        elif executor == "process":
            errors = run_in_processes(
                prepared, todo, workers=workers, clock=clock, progress=progress
            )
        else:
            from llm_validation.experiments.ray_executor import run_on_ray

            errors = run_on_ray(prepared, todo, address=address, clock=clock, progress=progress)
    return [_outcome(run, prepared, errors.get(run.id)) for run in runs]


def _run_here(
    prepared: Prepared, runs: Sequence[RunConfig], clock: Clock, progress: Progress
) -> dict[str, str]:
    errors = {}
    for run in progress(runs, "running the grid"):
        if clock.is_over:
            continue
        try:
            work(run, prepared, progress=_steps_of(run, progress))
        except InputError as error:
            errors[run.id] = str(error)
    return errors


def _steps_of(run: RunConfig, progress: Progress) -> Progress:
    """Only the steps of the fine-tune, under the run's name: one line a run."""

    def chosen(items: Sequence[Any], doing: str) -> Iterable[Any]:
        return progress(items, run.id) if doing == "fine-tuning" else items

    return chosen


Command = Callable[[Path, str], list[str]]


def worker_command(out: Path, run_id: str) -> list[str]:
    """The command line of a worker process."""
    return [sys.executable, "-m", "llm_validation.experiments.worker", str(out), run_id]


def run_in_processes(
    prepared: Prepared,
    runs: Sequence[RunConfig],
    *,
    workers: int,
    clock: Clock = NO_DEADLINE,
    progress: Progress = silent,
    command: Command = worker_command,
) -> dict[str, str]:
    """Every run in a process of its own, ``workers`` at a time; errors by run id.

    What a worker writes to stdout and stderr is kept in the run's ``worker.log``.
    """
    gpus = _gpus()
    free = list(range(workers))
    lock = threading.Lock()

    def one(run: RunConfig) -> tuple[str, str | None]:
        if clock.is_over:
            return run.id, None
        with lock:
            slot = free.pop()
        try:
            return run.id, _tried(prepared, run, command, _environment(slot, gpus, workers))
        finally:
            with lock:
                free.append(slot)

    with ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(one, run) for run in runs]
        found = dict(future.result() for future in progress(futures, "running the grid"))
    return {run_id: error for run_id, error in found.items() if error is not None}


def _tried(
    prepared: Prepared, run: RunConfig, command: Command, environment: dict[str, str]
) -> str | None:
    """Run the worker until it is done or refused; its last error."""
    folder = run_folder(prepared.out, run.id)
    folder.mkdir(parents=True, exist_ok=True)
    error = None
    for _ in range(MOST_ATTEMPTS):
        with open_to_append(folder / _LOG) as log:
            code = subprocess.run(
                command(prepared.out, run.id), stdout=log, stderr=log, env=environment, check=False
            ).returncode
        mark_killed(folder)
        if code == 0:
            return None
        error = _error_of(folder, code)
        if code == REFUSED:
            return error
    return error


def _error_of(folder: Path, code: int) -> str:
    attempts = read_attempts(folder)
    if attempts and attempts[-1]["error"]:
        return attempts[-1]["error"]
    how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
    return f"the worker {how}; see {folder / _LOG}"


def _gpus() -> int:
    import torch

    return torch.cuda.device_count()


def _environment(slot: int, gpus: int, workers: int) -> dict[str, str]:
    environment = dict(os.environ)
    # Workers that each start a thread for every core slow each other down.
    cores = len(os.sched_getaffinity(0))
    environment.setdefault("OMP_NUM_THREADS", str(max(1, cores // workers)))
    if gpus > 1:
        environment["CUDA_VISIBLE_DEVICES"] = str(slot % gpus)
    return environment


def _outcome(run: RunConfig, prepared: Prepared, error: str | None) -> Outcome:
    attempts = tuple(read_attempts(run_folder(prepared.out, run.id)))
    if is_done(run, prepared):
        return Outcome(run, "done", None, attempts)
    return Outcome(run, "failed" if error else "pending", error, attempts)
