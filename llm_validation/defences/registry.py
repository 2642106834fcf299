"""The repairs of an adapter by name: every class of this package that is one."""

from __future__ import annotations

from importlib import import_module
from inspect import isclass
from pkgutil import iter_modules
from typing import Any

from llm_validation import defences

# Only such modules are imported: the others load trainers.
_MARK = 'stage: Stage = "after"'


def repairs() -> dict[str, type[Any]]:
    """Every defence of the stage "after" whose subject is a LoraAdapter, by its name.

    A new one is a file of this package with a class that follows ``protocol.Defence``.
    """
    found: dict[str, type[Any]] = {}
    for module in iter_modules(defences.__path__):
        spec = module.module_finder.find_spec(module.name, None)
        if _MARK not in spec.loader.get_source(module.name):
            continue
        name = f"{defences.__name__}.{module.name}"
        found |= {made.name: made for made in vars(import_module(name)).values() if _is(made, name)}
    return found


def _is(made: Any, module: str) -> bool:
    ours = isclass(made) and made.__module__ == module and getattr(made, "stage", "") == "after"
    return ours and made.apply.__annotations__.get("subject") == "LoraAdapter"
