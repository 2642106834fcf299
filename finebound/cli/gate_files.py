"""The files that a command with budgets writes for continuous integration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from finebound.base.errors import InputError

if TYPE_CHECKING:
    from finebound.results.gate import Gate


@dataclass(frozen=True, kw_only=True)
class GateFiles:
    """What is written of the budgets besides the exit code."""

    junit: Path | None = None
    """File for JUnit XML: a test case for each budget, a failure if broken, an error if not
    decided."""
    markdown: Path | None = None
    """File for GitHub-flavoured Markdown, such as a job summary."""

    def require(self, *, budget: bool = True) -> None:
        """Raises InputError for a file that no budget fills or that cannot be written."""
        from finebound.base.records import require_folder

        for name in ("junit", "markdown"):
            path: Path | None = getattr(self, name)
            if path is None:
                continue
            if not budget:
                raise InputError(
                    f"`{name}` is about budgets, and none is given.",
                    remedy="Give `budget`, or leave it out.",
                )
            if path.is_dir():
                raise InputError("is a folder.", remedy=f"Give a file as `{name}`.", file=path)
            try:
                require_folder(path.parent)
            except InputError as error:
                raise InputError(
                    error.what, remedy=f"Give another file as `{name}`.", file=error.file
                ) from None

    def write(self, gates: Sequence[Gate]) -> None:
        """Write the files that were asked for, each whole."""
        from finebound.base.records import write_atomically
        from finebound.views.gate import junit, markdown

        for path, form in ((self.junit, junit), (self.markdown, markdown)):
            if path is not None:
                write_atomically(path, form(gates))
