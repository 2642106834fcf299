"""``task-extraction``: short notices, and the facts in each as a small JSON object.

A notice states the facts that it was made from, so the object is right by construction.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache

import numpy as np

from llm_validation.data.builtin.dialogue_task import facts
from llm_validation.data.builtin.drawing import equal_rows, pick, shuffled, stream
from llm_validation.data.content import content
from llm_validation.data.dataset import Example

ROWS_PER_NOTICE = 40


@dataclass(frozen=True)
class Notice:
    """A kind of notice: ``slots`` as in a scene of ``task-dialogue``, and wordings.

    ``fields`` are the keys of the object by the field names of their values; a value of digits is a
    number.
    """

    name: str
    slots: dict[str, tuple[str, ...]]
    fields: dict[str, str]
    wordings: tuple[str, ...]


def _words() -> dict:
    return content(__file__, "extraction_task.yaml")


@cache
def notices() -> tuple[Notice, ...]:
    """Every kind of notice, in order."""
    return tuple(Notice(name, **parts) for name, parts in _words()["notices"].items())


def _row(rng: np.random.Generator, notice: Notice) -> Example:
    known = facts(rng, notice.slots)
    asked = shuffled(rng, list(notice.fields))
    keys = [notice.fields[name] for name in asked]
    instruction = pick(rng, _words()["instructions"]).format(
        fields=f"{', '.join(keys[:-1])} and {keys[-1]}"
    )
    text = pick(rng, notice.wordings).format_map(known)
    values = [int(known[name]) if known[name].isdigit() else known[name] for name in asked]
    answer = json.dumps(dict(zip(keys, values, strict=True)))
    return Example.single_turn(f"{instruction}\n\n{text}", answer, category=notice.name)


def examples() -> list[Example]:
    """The rows, every kind equally often; ``category`` is the kind of notice."""
    return equal_rows(stream("task-extraction"), notices(), ROWS_PER_NOTICE, _row)
