"""How much memory a job may still take, and the word where it needs more."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import torch

from finebound.base.errors import InputError

VARIABLE = "FINEBOUND_MEMORY"
"""GB that a process may take in all; unset: what is free. Workers inherit it."""
GB = 1 << 30
_PROC, _CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")
_UNLIMITED = 1 << 60


class NeedsMemory(InputError):
    """What was asked for does not fit into memory."""


def require_memory(
    need: float, what: str, *, device: torch.device | str = "cpu", held: float = 0.0, remedy: str
) -> None:
    """Raises NeedsMemory where ``what`` needs more bytes than it may take.

    ``held`` is the part of ``need`` that is in memory already.
    """
    allowed = allowed_bytes(device) + held
    if need > allowed:
        raise NeedsMemory(
            f"{what} needs about {_size(need)}, and {_size(max(allowed, 0.0))} may be used"
            f"{_taken(device)}.",
            remedy=remedy,
        )


def _size(count: float) -> str:
    return f"{count / GB:.1f} GB" if count >= GB / 10 else f"{count / (1 << 20):.1f} MB"


def _taken(device: torch.device | str) -> str:
    """What a limit asked for is taken by already, where it is the reason."""
    limit = None if torch.device(device).type == "cuda" else _limit()
    if limit is None or limit - _resident() >= free_bytes():
        return ""
    return f" (of the {_size(limit)} allowed this process holds {_size(_resident())})"


def allowed_bytes(device: torch.device | str = "cpu") -> float:
    """Bytes that may still be taken: on the GPU what is free; else also what ``VARIABLE`` leaves.

    Raises InputError for a ``FINEBOUND_MEMORY`` that is no number of GB.
    """
    device = torch.device(device)
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    limit = _limit()
    free = free_bytes()
    return free if limit is None else min(free, limit - _resident())


def free_bytes() -> float:
    """What the system, and the limits of the process's control groups, leave free."""
    import psutil

    return min([float(psutil.virtual_memory().available), *_left_in_groups()])


def _limit() -> float | None:
    given = os.environ.get(VARIABLE)
    if not given:
        return None
    try:
        limit = float(given)
    except ValueError:
        limit = 0.0
    if not 0.0 < limit < float("inf"):
        raise InputError(
            f"{VARIABLE} is {given!r}.", remedy="Give a number of GB greater than 0, or unset it."
        )
    return limit * GB


def _resident() -> float:
    import psutil

    return float(psutil.Process().memory_info().rss)


def _left_in_groups() -> Iterator[float]:
    """Of every control group with a limit that the process is in: limit less use."""
    for folder, limit, used in _groups():
        try:
            most = int((folder / limit).read_text())
            now = int((folder / used).read_text())
            stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        except (OSError, ValueError):
            continue  # no such file, or "max"
        if most < _UNLIMITED:
            # Cached files are given back where memory runs short.
            yield float(most - now + int(stat.get("inactive_file", 0)))


def _groups() -> Iterator[tuple[Path, str, str]]:
    yield _CGROUPS / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"
    try:
        lines = (_PROC / "self" / "cgroup").read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        if line.startswith("0::"):
            inside = Path(line.removeprefix("0::/"))
            for folder in (inside, *inside.parents):
                yield _CGROUPS / folder, "memory.max", "memory.current"
