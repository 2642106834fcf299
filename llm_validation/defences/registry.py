"""The repairs of an adapter by name: every class of this package that is one."""

from __future__ import annotations

from importlib import import_module
from inspect import isclass
from typing import Any

from finebound.base.modules import sources
from llm_validation import defences

# Only such modules are imported: the others load trainers.
_MARK = 'stage: Stage = "after"'


def repairs() -> dict[str, type[Any]]:
    """Every defence of the stage "after" whose subject is a LoraAdapter, by its name.

    A new one is a file of this package with a class that follows ``protocol.Defence``.
    """
    found: dict[str, type[Any]] = {}
    for module, source in sources(defences).items():
        if _MARK in source:
            name = f"{defences.__name__}.{module}"
            classes = vars(import_module(name)).values()
            found |= {made.name: made for made in classes if _is(made, name)}
    return found


def _is(made: Any, module: str) -> bool:
    if not isclass(made) or made.__module__ != module or getattr(made, "stage", "") != "after":
        return False
    takes = getattr(vars(made).get("apply"), "__annotations__", {})
    return takes.get("subject") == "LoraAdapter"
