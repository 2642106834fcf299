"""Progress of long work, on stderr; measures take a ``Progress`` and never print."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol, TypeVar

T = TypeVar("T")


class Progress(Protocol):
    """Passes ``items`` through, telling a person what is being done to them."""

    def __call__(self, items: Sequence[T], doing: str) -> Iterable[T]: ...


def silent(items: Sequence[T], doing: str) -> Iterable[T]:
    """The ``Progress`` that tells nobody: the default of every measure."""
    return items


@contextmanager
def bar() -> Iterator[Progress]:
    """A bar on stderr: what is being done, how much of it, how long it has taken."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as RichProgress

    columns = (
        TextColumn("{task.description:<44}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with RichProgress(*columns, console=Console(stderr=True)) as rich_progress:

        def track(items: Sequence[T], doing: str) -> Iterable[T]:
            return rich_progress.track(items, description=doing, total=len(items))

        yield track
