"""Progress of long work, on stderr; measures take a ``Progress`` and never print."""

from __future__ import annotations

import sys
import threading
import time
import warnings
from collections import Counter
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TextIO, TypeVar

from finebound.base.text import printable

if TYPE_CHECKING:
    from rich.console import Console

T = TypeVar("T")

EVERY = 20.0
"""Seconds between two lines where stderr is no terminal; half a minute is never silent."""
_OURS = ("finebound", "theory", "sims", "llm_validation", "paper_figures")


class Progress(Protocol):
    """Passes ``items`` through, telling a person what is being done to them."""

    def __call__(self, items: Sequence[T], doing: str) -> Iterable[T]: ...


def silent(items: Sequence[T], doing: str) -> Iterable[T]:
    """The ``Progress`` that tells nobody: the default of every measure."""
    return items


@contextmanager
def bar() -> Generator[Progress]:
    """Stages on stderr: their number, what is being done, how much of it, and the time left.

    On a terminal they are bars. Elsewhere (a file, a pipe) a line is printed every ``EVERY``
    seconds. What libraries warn of meanwhile is counted and kept back; warnings of this project
    are printed as notes.
    """
    from rich.console import Console

    console = Console(stderr=True)
    with _warnings_kept(), _bars(console) if console.is_terminal else lines(sys.stderr) as track:
        yield track


@contextmanager
def _bars(console: Console) -> Generator[Progress]:
    from rich.markup import escape
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as RichProgress

    columns = (
        TextColumn("{task.description:<44}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with RichProgress(*columns, console=console) as rich_progress:
        number = 0

        def track(items: Sequence[T], doing: str) -> Iterable[T]:
            nonlocal number
            number += 1
            doing = escape(printable(doing))
            return rich_progress.track(items, description=f"{number}. {doing}", total=len(items))

        yield track


@contextmanager
def lines(stream: TextIO, *, every: float = EVERY) -> Generator[Progress]:
    """The ``Progress`` that prints a line every ``every`` seconds, however long one item takes."""
    stages = _Stages()
    over = threading.Event()

    def report() -> None:
        while not over.wait(every):
            print(stages.line(), file=stream, flush=True)

    thread = threading.Thread(target=report, name="progress", daemon=True)
    thread.start()
    try:
        yield stages.track
    finally:
        over.set()
        thread.join()


@dataclass
class _Stage:
    number: int
    doing: str
    total: int
    started: float
    done: int = 0

    def __str__(self) -> str:
        said = f"stage {self.number}, {self.doing}"
        if self.total > 1:
            said += f": {self.done} of {self.total} ({self.done / self.total:.0%})"
        if 0 < self.done < self.total:
            taken = time.monotonic() - self.started
            said += f", about {duration(taken / self.done * (self.total - self.done))} left"
        return said


@dataclass
class _Stages:
    """The stages under way, the outermost first, and how many there have been."""

    started: float = field(default_factory=time.monotonic)
    begun: int = 0
    under_way: list[_Stage] = field(default_factory=list)
    before: str = "starting: libraries are loaded, files are read"
    """What is said between two stages."""

    def track(self, items: Sequence[T], doing: str) -> Iterable[T]:
        self.begun += 1
        doing = printable(doing)
        stage = _Stage(self.begun, doing, len(items), time.monotonic())
        self.under_way.append(stage)
        try:
            for item in items:
                yield item
                stage.done += 1
        finally:
            self.under_way.remove(stage)
            self.before = f"after stage {stage.number}, {doing}"

    def line(self) -> str:
        now = "; ".join(map(str, list(self.under_way))) or self.before
        return f"finebound: {duration(time.monotonic() - self.started)}: {now}"


def duration(seconds: float) -> str:
    """A length of time for people: "40 s", "3 min 20 s", "2 h 5 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


@contextmanager
def _warnings_kept() -> Generator[None]:
    """Prints our own warnings as notes; counts those of libraries and keeps them back."""
    kept: Counter[str] = Counter()
    root = Path(__file__).resolve().parents[2]
    homes = tuple(str(root / name) for name in _OURS)

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if filename.startswith(homes):
            print(f"finebound: note: {printable(str(message))}", file=sys.stderr)
        else:
            kept[str(message)] += 1

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield
    if kept:
        print(
            f"finebound: {kept.total()} warnings of libraries were kept back ({len(kept)} "
            "different ones).",
            file=sys.stderr,
        )
