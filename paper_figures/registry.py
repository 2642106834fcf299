"""Which figures there are: every module of this folder that is not named here as support."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, Protocol, cast

import paper_figures
from finebound.base.errors import InputError
from finebound.views.figure_files import FigureModule

_SUPPORT = {
    "behaved",
    "defended",
    "drawing",
    "finetuned",
    "paths",
    "records",
    "registry",
    "style",
}


class RecordedFigure(FigureModule, Protocol):
    """A figure whose data are recorded in this folder."""

    def record(self, seed: int) -> dict[str, Any]:
        """The data, JSON types only, made from ``seed`` and nothing else."""


def figure_names() -> list[str]:
    """The names of all figures, in alphabetical order."""
    found = {module.name for module in iter_modules(paper_figures.__path__)}
    return sorted(found - _SUPPORT)


def chosen(names: Iterable[str]) -> list[str]:
    """``names`` without repeats, or all if there are none. Raises InputError on an unknown one."""
    known = figure_names()
    asked = list(dict.fromkeys(names))
    for name in asked:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"Did you mean {near[0]}? " if near else ""
            raise InputError(
                f"there is no figure {name!r}.", remedy=f"{hint}There are: {', '.join(known)}."
            )
    return asked or known


def figure_module(name: str) -> RecordedFigure:
    """The module of a figure in :func:`figure_names`, imported now."""
    return cast("RecordedFigure", import_module(f"paper_figures.{name}"))
