"""Every attempt at a run, so that a worker that was killed leaves a trace."""

from __future__ import annotations

import fcntl
import json
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finebound.base.errors import InputError, tell
from finebound.base.records import to_json, write_atomically
from finebound.base.writing import LOCK, open_lock

ATTEMPTS = "attempts.json"
RUNNING, DONE, FAILED, KILLED = "running", "done", "failed", "killed"

MOST_ATTEMPTS = 3


@dataclass(frozen=True)
class Clock:
    """Whether there is time to begin another run."""

    deadline: float | None = None

    @property
    def is_over(self) -> bool:
        return self.deadline is not None and time.monotonic() >= self.deadline


NO_DEADLINE = Clock()


def read_attempts(folder: Path) -> list[dict[str, Any]]:
    """The attempts at a run, oldest first; those that nobody ended were killed.

    A damaged record of them begins anew, with a word on stderr: no number follows from it.
    """
    file = folder / ATTEMPTS
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    except (OSError, ValueError, RecursionError) as error:
        tell(f"{file}: cannot be read: {error}. The record of attempts begins anew.")
        return []
    if isinstance(found, list) and all(
        isinstance(entry, dict) and isinstance(entry.get("outcome"), str) and "error" in entry
        for entry in found
    ):
        return found
    tell(f"{file}: holds no attempts. The record of them begins anew.")
    return []


@contextmanager
def attempt(folder: Path) -> Iterator[None]:
    """Record an attempt: begun now, done or failed at the end, else found killed by the next."""
    earlier = mark_killed(folder)
    mine = {
        "started": _now(),
        "host": platform.node(),
        "pid": os.getpid(),
        "outcome": RUNNING,
        "error": None,
    }
    _write(folder, [*earlier, mine])
    try:
        yield
    except BaseException as error:
        mine |= {"outcome": FAILED, "error": str(error) or type(error).__name__, "ended": _now()}
        _write(folder, [*earlier, mine])
        raise
    _write(folder, [*earlier, {**mine, "outcome": DONE, "ended": _now()}])


@contextmanager
def locked(folder: Path, *, wait: bool) -> Iterator[None]:
    """Only one process at a time works in the folder; the lock goes with a killed one.

    Raises InputError when another has it and this one is not to ``wait``.
    """
    with open_lock(folder / LOCK) as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise InputError(
                "another process is working in this folder.",
                remedy="Wait for it, or give another folder as `out`.",
                file=folder,
            ) from None
        yield


def mark_killed(folder: Path) -> list[dict[str, Any]]:
    """Mark attempts that are still called running as killed; call it when none is running."""
    found = read_attempts(folder)
    if any(entry["outcome"] == RUNNING for entry in found):
        found = [
            {**entry, "outcome": KILLED} if entry["outcome"] == RUNNING else entry
            for entry in found
        ]
        _write(folder, found)
    return found


def _write(folder: Path, attempts: list[dict[str, Any]]) -> None:
    write_atomically(folder / ATTEMPTS, to_json(attempts) + "\n")


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
