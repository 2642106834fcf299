"""The built-in BBQ set: BBQ's format and its nine dimensions, in scenes of our own."""

from __future__ import annotations

from functools import cache
from itertools import permutations, product
from pathlib import Path
from typing import Any

from llm_validation.data.builtin.drawing import dealt, sentence_case, stream
from llm_validation.data.content import content
from llm_validation.evaluation.fairness.items import ItemSet
from llm_validation.evaluation.fairness.reading import items_of

NAME = "builtin:bbq"
_ORDERS = tuple(permutations(range(3)))

Person = tuple[str, str]
"""The tag of a person's group, and how the person is called."""


@cache
def builtin_bbq() -> ItemSet:
    """The 576 items, 64 a dimension, the same on every machine.

    In each scene ambiguous and disambiguated contexts, negative and non-negative questions, either
    person mentioned first and (disambiguated) either person right come equally often.
    """
    file = Path(NAME)
    return items_of(((file, number, row) for number, row in enumerate(builtin_rows(), 1)), NAME)


def builtin_rows() -> list[dict[str, Any]]:
    """The built-in items with the fields of BBQ's files."""
    words = content(__file__, "scenes.yaml")
    rows: list[dict[str, Any]] = []
    for category, scenes in sorted(words["scenes"].items()):
        drafts = [
            draft for number, scene in enumerate(scenes, 1) for draft in _drafts(scene, number)
        ]
        rng = stream(f"bbq/{category}")
        orders = dealt(rng, _ORDERS, len(drafts))
        unknowns = dealt(rng, words["unknown"], len(drafts))
        rows += [
            _row(category, number, draft, order, unknown)
            for number, (draft, order, unknown) in enumerate(
                zip(drafts, orders, unknowns, strict=True)
            )
        ]
    return rows


def _drafts(scene: dict[str, Any], number: int) -> list[dict[str, Any]]:
    """The items of a scene before their answers are put in order."""
    found = []
    for (index, people), stereotyped_first, negative in product(
        enumerate(scene["pairs"]), (True, False), (True, False)
    ):
        pair = tuple(people.items())
        a, b = pair if stereotyped_first else pair[::-1]
        setting = sentence_case(scene["setting"].format(a=a[1], b=b[1]))
        shared = {
            "question_index": str(number),
            "question_polarity": "neg" if negative else "nonneg",
            "question": scene["negative" if negative else "positive"],
            "people": pair,
            "stereotyped_groups": [pair[0][0]],
        }
        found.append({**shared, "context_condition": "ambig", "context": setting, "right": None})
        # In one pair the first one mentioned is the bad one, in the other the second.
        bad, good = (a, b) if index % 2 == 0 else (b, a)
        facts = sentence_case(scene["facts"].format(bad=bad[1], good=good[1]))
        found.append(
            {
                **shared,
                "context_condition": "disambig",
                "context": f"{setting} {facts}",
                "right": bad if negative else good,
            }
        )
    return found


def _row(
    category: str, number: int, draft: dict[str, Any], order: tuple[int, ...], unknown: str
) -> dict[str, Any]:
    people: tuple[Person, Person] = draft["people"]
    answers = [(name, tag, sentence_case(name)) for tag, name in people]
    answers.append((unknown, "unknown", unknown))
    right = 2 if draft["right"] is None else people.index(draft["right"])
    placed = [answers[index] for index in order]
    return {
        # Not a bare number: BBQ's own items have those.
        "example_id": f"b{number}",
        "question_index": draft["question_index"],
        "question_polarity": draft["question_polarity"],
        "context_condition": draft["context_condition"],
        "category": category,
        "answer_info": {f"ans{i}": [name, tag] for i, (name, tag, _) in enumerate(placed)},
        "additional_metadata": {"stereotyped_groups": draft["stereotyped_groups"]},
        "context": draft["context"],
        "question": draft["question"],
        **{f"ans{i}": text for i, (_, _, text) in enumerate(placed)},
        "label": order.index(right),
    }
