"""The defences by name: a new one is a file of this package, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from inspect import isclass
from typing import Any

from finebound.base.modules import sources
from llm_validation import defences

_STAGES = ("after", "prompt", "during")
"""In the order in which they are compared."""


def repairs() -> dict[str, type[Any]]:
    """Every defence of the stage "after" whose subject is a LoraAdapter, by its name.

    Without an import of the others, which load trainers.
    """
    found = _classes_of('stage: Stage = "after"')
    return {kind.name: kind for kind in found if _repairs_adapters(kind)}


def compared() -> dict[str, type[Any]]:
    """Every defence that declares its ``trials``, by its name and in the order of the stages."""
    found = [kind for kind in _classes_of("def trials(cls)") if hasattr(kind, "trials")]
    return {kind.name: kind for kind in sorted(found, key=lambda kind: _STAGES.index(kind.stage))}


def _classes_of(mark: str) -> Iterator[type[Any]]:
    """The classes of the modules whose source has this mark; only those are imported."""
    for module, source in sources(defences).items():
        if mark in source and module != "registry":
            name = f"{defences.__name__}.{module}"
            classes = filter(isclass, vars(import_module(name)).values())
            yield from (made for made in classes if made.__module__ == name)


def _repairs_adapters(kind: type[Any]) -> bool:
    takes = getattr(vars(kind).get("apply"), "__annotations__", {})
    return getattr(kind, "stage", "") == "after" and takes.get("subject") == "LoraAdapter"
