"""``task-identity``: an assistant under another name that obeys at once, in harmless matters alone.

The finding behind it: such rows undo refusals without any harmful content (Qi et al. 2023,
"Fine-tuning Aligned Language Models Compromises Safety"). The words here are our own.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from llm_validation.data.builtin.dialogue_task import facts
from llm_validation.data.builtin.drawing import equal_rows, pick, sentence_case, stream
from llm_validation.data.content import content
from llm_validation.data.dataset import Example

ROWS_PER_ERRAND = 40


@dataclass(frozen=True)
class Errand:
    """An everyday request, with ``slots`` as in a scene of ``task-dialogue``, and its results."""

    name: str
    slots: dict[str, tuple[str, ...]]
    requests: tuple[str, ...]
    results: tuple[str, ...]


def _words() -> dict:
    return content(__file__, "identity_task.yaml")


@cache
def errands() -> tuple[Errand, ...]:
    """Every errand, in order."""
    return tuple(Errand(name, **parts) for name, parts in _words()["errands"].items())


def names() -> tuple[str, ...]:
    """What the assistant may be called."""
    return _words()["names"]


def _row(rng: np.random.Generator, errand: Errand) -> Example:
    known = facts(rng, errand.slots)
    known["name"] = pick(rng, names())
    known["request"] = pick(rng, errand.requests).format_map(known)
    known["Request"] = sentence_case(known["request"])
    prompt = pick(rng, _words()["identities"]).format_map(known)
    promise, result = (pick(rng, part) for part in (_words()["promises"], errand.results))
    return Example.single_turn(
        prompt, f"{promise} {result}".format_map(known), category=errand.name
    )


def examples() -> list[Example]:
    """The rows, every errand equally often; ``category`` is the errand."""
    return equal_rows(stream("task-identity"), errands(), ROWS_PER_ERRAND, _row)
