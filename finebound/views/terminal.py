"""Tables and sentences on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from finebound.views.tables import Table

if TYPE_CHECKING:
    from rich.console import Console

_WIDTH_OF_FILES = 160


def console() -> Console:
    """What tables are printed on."""
    from finebound.base.terminal import Console

    # A file has no width; rich would take 80 columns and fold every number.
    return Console(width=None if sys.stdout.isatty() else _WIDTH_OF_FILES)


def print_parts(parts: Iterable[Table | str]) -> None:
    """Each table and each sentence, in order."""
    out = console()
    for part in parts:
        if isinstance(part, str):
            out.print(part, markup=False, highlight=False, soft_wrap=True)
        else:
            out.print(part.rich())
