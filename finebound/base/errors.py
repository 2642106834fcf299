"""Words meant for people: errors, one paragraph with file, row and remedy; and what goes on."""

from __future__ import annotations

import sys
from pathlib import Path

from finebound.base.text import printable


class InputError(Exception):
    """The user's input is wrong; the command prints this as one paragraph and exits with 2.

    ``what`` says what is wrong, ``remedy`` what to do about it; ``file`` and ``row`` (1-based,
    as an editor counts lines or records) say where. Raised before anything is written.
    """

    def __init__(
        self,
        what: str,
        *,
        remedy: str,
        file: str | Path | None = None,
        row: int | None = None,
    ) -> None:
        self.what, self.remedy = what, remedy
        self.file = None if file is None else str(file)
        self.row = row
        where = "" if file is None else f"{file}: " if row is None else f"{file}, row {row}: "
        super().__init__(_one_line(f"{where}{what} {remedy}"))


def tell(what: str, *, once: bool = False) -> None:
    """A word on stderr about what is done instead of what was asked; only ``once`` if so wanted."""
    line = _one_line(what)
    if once and line in _told:
        return
    _told.add(line)
    print(line, file=sys.stderr, flush=True)


_told: set[str] = set()


def _one_line(text: str) -> str:
    return " ".join(printable(text).split())
