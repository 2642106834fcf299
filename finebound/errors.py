"""Errors meant for people: one paragraph that names the file, the row and the remedy."""

from __future__ import annotations

from pathlib import Path


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
        super().__init__(" ".join(f"{where}{what} {remedy}".split()))
