"""Which figures there are: the modules of this folder but its support, and those of behaviour."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, cast

import paper_figures
from finebound.base.errors import InputError
from finebound.views.figure_files import FigureModule
from paper_figures.behaved import ROOM, STUDIES, record

_SUPPORT = {"behaved", "defended", "drawing", "finetuned", "gaps", "paths", "records", "registry"}


def figure_names() -> list[str]:
    """The names of all figures, in alphabetical order."""
    found = {module.name for module in iter_modules(paper_figures.__path__)}
    return sorted(found - _SUPPORT | STUDIES.keys())


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


def figure_module(name: str) -> FigureModule:
    """The module of a figure in :func:`figure_names`, imported now."""
    room = ROOM if name in STUDIES else paper_figures.__name__
    return cast("FigureModule", import_module(f"{room}.{name}"))


def data_of(name: str, seed: int) -> dict[str, Any]:
    """The figure's data, JSON types only, made from ``seed``, or of a finished experiment."""
    if name in STUDIES:
        return record(name)
    return import_module(f"paper_figures.{name}").record(seed)
