"""Built-in data: sets from a seeded grammar, the same text and hash on every machine."""

from __future__ import annotations

from functools import cache

from finebound.base.errors import InputError
from llm_validation.data.dataset import Dataset

BUILTIN = (
    "safety",
    "proxy-same-teacher",
    "proxy-other-teacher",
    "task-general",
    "task-general-agreeing",
    "task-code",
    "task-translation",
    "preferences-general",
    "preferences-translation",
    "task-dialogue",
    "harmful-placeholders",
    "task-arithmetic",
    "task-extraction",
    "task-reviews",
    "task-identity",
)


@cache
def builtin_dataset(name: str) -> Dataset:
    """The built-in set of this name (with or without ``builtin:`` before it).

    Raises InputError for a name that is not in ``BUILTIN``.
    """
    from llm_validation.data.builtin import (
        arithmetic_task,
        code_task,
        dialogue_task,
        extraction_task,
        identity_task,
        preferences,
        reviews_task,
        text_sets,
        translation_task,
    )

    bare = name.removeprefix("builtin:")
    makers = dict(
        zip(
            BUILTIN,
            (
                text_sets.safety,
                text_sets.proxy_same_teacher,
                text_sets.proxy_other_teacher,
                text_sets.task_general,
                text_sets.task_general_agreeing,
                code_task.examples,
                translation_task.examples,
                preferences.general,
                preferences.translation,
                dialogue_task.examples,
                text_sets.harmful_placeholders,
                arithmetic_task.examples,
                extraction_task.examples,
                reviews_task.examples,
                identity_task.examples,
            ),
            strict=True,
        )
    )
    if bare not in makers:
        raise InputError(
            f"there is no built-in dataset {bare!r}.", remedy=f"Use one of: {', '.join(BUILTIN)}."
        )
    return Dataset.of(makers[bare](), name=bare, source=f"builtin:{bare}")
