"""The record of a figure: its data and what made them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from finebound.base.errors import InputError
from finebound.results.result import Manifest, Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from finebound.views.tables import Table


class FigureRecord(Result):
    """What a figure of the paper is drawn from; ``data`` are its module's own, of JSON types.

    The module of that name in ``paper_figures`` makes, draws and captions it.
    """

    kind: ClassVar[str] = "figure"
    file: ClassVar[str] = "FIGURE.json"
    indent: ClassVar[int | None] = 1

    figure: str
    manifest: Manifest
    data: dict[str, Any]

    def summary(self) -> str:
        """Which figure it is, and the command that made its data."""
        return f"the data of figure {self.figure}, made by `{self.manifest.given['command']}`"

    def table(self) -> Table:
        """A figure's data are no table. Raises InputError."""
        raise InputError("a figure's record has no table.", remedy="Look at its `data`.")

    def plot(self) -> Figure:
        """The paper's figures are drawn together with their captions. Raises InputError."""
        raise InputError(
            "a figure's record is drawn with its caption.",
            remedy=f"Use `finebound figures {self.figure}`.",
        )
