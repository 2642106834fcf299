"""A grid on a Ray cluster: one task a run, with a GPU each where the cluster has some."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from finebound.base.errors import InputError, tell
from finebound.base.progress import Progress, silent
from llm_validation.experiments.config import RunConfig
from llm_validation.experiments.prepare import Prepared

if TYPE_CHECKING:
    from llm_validation.experiments.attempts import Clock

AT_START = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
"""What Ray's processes read when they start: no statistics are sent, and workers are no nicer than
others (Ray's own default is 15, and on a busy machine they would wait for all else)."""


def run_on_ray(
    prepared: Prepared,
    runs: Sequence[RunConfig],
    *,
    address: str | None,
    clock: Clock,
    progress: Progress = silent,
) -> dict[str, str]:
    """Execute the runs on the cluster at ``address`` (None: one on this machine).

    A cluster begun here has ``AT_START``, where the environment says nothing else; one that is
    there already keeps its own, and a word on stderr says how nice its workers are. The
    experiment's folder has to be on a file system that all machines share. Ray starts a run again
    when its worker dies, up to three attempts; what is begun goes on at its last checkpoint.
    Errors by run id. Raises InputError when Ray is not installed or not reached.
    """
    from llm_validation.experiments.attempts import MOST_ATTEMPTS

    try:
        ray = import_module("ray")
    except ModuleNotFoundError:
        raise InputError(
            "the executor ray needs Ray, which is not installed.",
            remedy="Install the extra: pip install '.[cluster]', or use the `executor` process.",
        ) from None
    for name, value in AT_START.items():
        os.environ.setdefault(name, value)
    try:
        ray.init(address=address, ignore_reinit_error=True, log_to_driver=False)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise InputError(
            f"no Ray cluster answers at {address!r}: {error}.",
            remedy="Start one with `ray start --head`, or leave `address` out.",
        ) from None
    try:
        gpus = 1 if ray.cluster_resources().get("GPU", 0) >= 1 else 0
        remote = ray.remote(_work).options(num_cpus=1, num_gpus=gpus, max_retries=MOST_ATTEMPTS - 1)
        out = str(prepared.out.absolute())
        # As many at a time as fit, so that no run is begun after the time is over.
        room = max(1, int(ray.cluster_resources().get("GPU" if gpus else "CPU", 1)))
        waiting = list(runs)
        begun: dict[object, str] = {}
        errors: dict[str, str] = {}
        nicest = os.nice(0)
        for _ in progress(range(len(runs)), "running the grid"):
            while waiting and len(begun) < room and not clock.is_over:
                run = waiting.pop(0)
                begun[remote.remote(out, run.id)] = run.id
            if not begun:
                break
            done, _rest = ray.wait(list(begun), num_returns=1)
            run_id = begun.pop(done[0])
            try:
                refused, nice = ray.get(done[0])
                if nice > nicest:
                    nicest = nice
                    tell(_told(nice))
            except ray.exceptions.RayError as error:
                refused = f"its worker failed: {error}"
            if refused is not None:
                errors[run_id] = refused
        return errors
    finally:
        ray.shutdown()


def _told(nice: int) -> str:
    return (
        f"Ray runs its workers at niceness {nice}: on a busy machine they wait for all else. "
        "Start its nodes with RAY_worker_niceness=0 in their environment."
    )


def _work(out: str, run_id: str) -> tuple[str | None, int]:
    """On a worker: the run's error for people, or None; and how nice the worker is."""
    from llm_validation.experiments.worker import work_on

    try:
        work_on(Path(out), run_id)
    except InputError as error:
        return str(error), os.nice(0)
    return None, os.nice(0)
