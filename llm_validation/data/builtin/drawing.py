"""Seeded choices and small matters of English that every generator here shares."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from llm_validation.data.dataset import Example

T = TypeVar("T")

SEED = 20_260_131
"""The one seed of the built-in data; each set draws from its own stream under it."""

# Verbs of the grammar that double their last letter before "ing".
_DOUBLING = frozenset(
    ("bet", "get", "plan", "put", "run", "set", "skip", "slip", "split", "stir", "stop", "trap")
)
# Verbs that join a second clause in the acts, where other words after "and" join two nouns.
_SECOND_VERBS = frozenset(("avoid", "keep", "leave", "make", "sell", "share"))


def stream(name: str) -> np.random.Generator:
    """The random stream of one set or one purpose: the same on every machine."""
    key = int.from_bytes(name.encode(), "little")
    return np.random.Generator(np.random.PCG64([SEED, key]))


def pick(rng: np.random.Generator, options: Sequence[T]) -> T:
    """One of ``options``, each as likely as the next."""
    return options[int(rng.integers(len(options)))]


def shuffled(rng: np.random.Generator, options: Sequence[T]) -> list[T]:
    """All of ``options`` in a random order."""
    return [options[int(index)] for index in rng.permutation(len(options))]


def dealt(rng: np.random.Generator, options: Sequence[T], count: int) -> list[T]:
    """``count`` of ``options``: each is dealt once before any is dealt again."""
    hands: list[T] = []
    while len(hands) < count:
        hands.extend(shuffled(rng, options))
    return hands[:count]


def equal_rows(
    rng: np.random.Generator,
    kinds: Sequence[T],
    count: int,
    row: Callable[[np.random.Generator, T], Example],
) -> list[Example]:
    """``count`` rows of each of ``kinds``, no prompt twice, in a random order."""
    rows: dict[str, Example] = {}
    for number, kind in enumerate(kinds, start=1):
        while len(rows) < number * count:
            made = row(rng, kind)
            rows.setdefault(made.prompt, made)
    return shuffled(rng, list(rows.values()))


def chance(rng: np.random.Generator, probability: float) -> bool:
    """True with this probability."""
    return bool(rng.random() < probability)


def sentence_case(text: str) -> str:
    """The text with its first letter raised and the rest left alone."""
    return text[:1].upper() + text[1:]


def gerund(verb_phrase: str) -> str:
    """The phrase with its verbs in the -ing form: "hide a key" gives "hiding a key"."""
    first, *others = verb_phrase.split(" and ")
    return " and ".join(
        [_ing(first)]
        + [_ing(other) if other.split()[0] in _SECOND_VERBS else other for other in others]
    )


def _ing(verb_phrase: str) -> str:
    verb, space, rest = verb_phrase.partition(" ")
    if verb.endswith("ie"):
        stem = verb[:-2] + "y"
    elif verb in _DOUBLING:
        stem = verb + verb[-1]
    elif verb.endswith("e") and not verb.endswith("ee"):
        stem = verb[:-1]
    else:
        stem = verb
    return f"{stem}ing{space}{rest}"
