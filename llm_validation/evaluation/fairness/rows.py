"""One row of a BBQ file, field by field."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from finebound.base.errors import InputError
from llm_validation.evaluation.fairness.choice import chosen_answer, whole_number
from llm_validation.evaluation.fairness.items import CATEGORIES, Condition, Item, category_named
from llm_validation.evaluation.fairness.metadata import target_places
from llm_validation.evaluation.fairness.tags import stereotyped_answer, unknown_answer

_CONDITION_WORDS: dict[str, Condition] = {
    "ambig": "ambiguous",
    "ambiguous": "ambiguous",
    "disambig": "disambiguated",
    "disambiguated": "disambiguated",
}
_SHOWN = 60


class UnscorableError(Exception):
    """A well-formed row that has no score; ``reason`` says in a few words why."""

    def __init__(self, reason: str, shown: str) -> None:
        super().__init__(f"{reason}: {shown}")
        self.reason, self.shown = reason, shown


class RowReader:
    """The fields of one row, each refused by file and row when it is not what BBQ has there."""

    def __init__(self, row: Mapping[str, Any], file: Path, number: int) -> None:
        self.row, self.file, self.number = row, file, number

    def fail(self, what: str, remedy: str) -> InputError:
        return InputError(what, remedy=remedy, file=self.file, row=self.number)

    def value(self, name: str) -> Any:
        if name not in self.row:
            raise self.fail(
                f"this row has no {name!r}; its columns are "
                f"{', '.join(map(repr, list(self.row)[:16]))}.",
                "Keep the fields of BBQ's files, and add prediction.",
            )
        return self.row[name]

    def category(self) -> str:
        given = self.value("category")
        name = category_named(given) if isinstance(given, str) else None
        if name is None:
            raise self.fail(
                f"{given!r} is not a category of BBQ.", f"Use one of {', '.join(CATEGORIES)}."
            )
        return name

    def identity(self) -> str:
        given = self.value("example_id")
        if isinstance(given, float) and given.is_integer():
            given = int(given)
        if isinstance(given, bool) or not isinstance(given, int | str) or str(given).strip() == "":
            raise self.fail(
                f"example_id is {given!r}.", "Give each item of a category its own number or name."
            )
        text = str(given).strip()
        return str(int(text)) if text.isdecimal() else text.removesuffix(".0")

    def word(self, name: str, words: Mapping[str, Any]) -> Any:
        given = self.value(name)
        key = given.strip().lower() if isinstance(given, str) else ""
        if key not in words:
            raise self.fail(f"{name} is {given!r}.", f"Use one of {', '.join(words)}.")
        return words[key]

    def index(self, name: str) -> int:
        given = self.value(name)
        number = whole_number(given)
        if number not in (0, 1, 2):
            raise self.fail(f"{name} is {given!r}.", "Give the number of an answer: 0, 1 or 2.")
        return number

    def prediction(self, field: str, item: Item) -> int | None:
        """The answer of ``item`` that the row's prediction names, None for null.

        Raises UnscorableError where it names none or more than one.
        """
        given = self.value(field)
        try:
            return chosen_answer(given, item.answers, names=item.names, unknown=item.unknown)
        except ValueError as error:
            shown = repr(given if len(str(given)) <= _SHOWN else str(given)[:_SHOWN] + "...")
            raise UnscorableError(f"whose prediction {error}", shown) from None

    def structure(self, name: str) -> Any:
        """A nested field; in CSV it is text, as JSON or as Python writes it."""
        given = self.value(name)
        if not isinstance(given, str):
            return given
        try:
            return json.loads(given)
        except ValueError:
            pass
        try:
            return ast.literal_eval(given)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            raise self.fail(
                f"{name} is not an object: {given[:60]!r}.", "Write it as JSON."
            ) from None

    def answer_infos(self) -> list[tuple[str, str]]:
        infos = self.structure("answer_info")
        found = []
        for name in ("ans0", "ans1", "ans2"):
            info = infos.get(name) if isinstance(infos, dict) else None
            if (
                not isinstance(info, list | tuple)
                or len(info) < 2
                or not all(isinstance(part, str) for part in info)
            ):
                raise self.fail(
                    f"answer_info gives no name and tag of {name}.",
                    'Write {"ans0": ["grandfather", "old"], "ans1": ..., "ans2": ...}.',
                )
            # The tag is the last: released files with three parts put it there.
            found.append((info[0], info[-1]))
        return found

    def groups(self) -> list[str]:
        metadata = self.structure("additional_metadata")
        groups = metadata.get("stereotyped_groups") if isinstance(metadata, dict) else None
        if isinstance(groups, str):
            groups = [groups]
        if not isinstance(groups, list | tuple) or not all(isinstance(g, str) for g in groups):
            raise self.fail(
                "additional_metadata gives no list stereotyped_groups.",
                'Write {"stereotyped_groups": ["old"], ...}.',
            )
        return list(groups)

    def text(self, name: str) -> str:
        given = self.row.get(name, "")
        return given if isinstance(given, str) else ""

    def item(self, category: str, identity: str) -> Item:
        """The row's item. Raises UnscorableError where its tags do not tell the bias."""
        infos, groups = self.answer_infos(), self.groups()
        shown = ", ".join(tag for _, tag in infos)
        unknown = unknown_answer(infos)
        if unknown is None:
            raise UnscorableError("of which not exactly one answer is tagged 'unknown'", shown)
        stereotyped = stereotyped_answer(infos, groups)
        if stereotyped is None:
            # The tags err in some: the authors' metadata tell the place.
            stereotyped = target_places(self.file.parent).get((category, identity))
        if stereotyped in (None, unknown):
            raise UnscorableError(
                "of which not exactly one answer is in the stereotyped groups",
                f"tags {shown}, groups {', '.join(groups) or '(none)'}",
            )
        return Item(
            id=identity,
            category=category,
            condition=self.word("context_condition", _CONDITION_WORDS),
            negative=self.word("question_polarity", {"neg": True, "nonneg": False}),
            label=self.index("label"),
            unknown=unknown,
            stereotyped=stereotyped,
            context=self.text("context"),
            question=self.text("question"),
            answers=(self.text("ans0"), self.text("ans1"), self.text("ans2")),
            names=(infos[0][0], infos[1][0], infos[2][0]),
            origin=(str(self.file), self.number),
        )
