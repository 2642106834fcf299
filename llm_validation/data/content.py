"""Content is data: what stands in YAML files beside the code that reads it."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any


@cache
def content(module_file: str, name: str) -> Any:
    """What the YAML file ``name`` beside a module's ``__file__`` holds; its lists are tuples.

    Every call gives the same object, so nobody may change a dict in it.
    """
    import yaml

    text = Path(module_file).with_name(name).read_text(encoding="utf-8")
    return yaml.load(text, _loader())


@cache
def _loader() -> Any:
    import yaml

    base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    class Loader(base):
        """A safe loader that makes tuples of lists."""

    Loader.add_constructor(
        "tag:yaml.org,2002:seq",
        lambda loader, node: tuple(loader.construct_sequence(node, deep=True)),
    )
    return Loader
