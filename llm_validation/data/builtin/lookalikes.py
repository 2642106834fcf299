"""Harmless questions, some of which share their words with the hazards of ``safety``."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from llm_validation.data.content import content

WH_WORDS = ("how", "why", "what", "when", "where", "which", "who", "whether")


@dataclass(frozen=True)
class Topic:
    """A harmless question, asked as a verb phrase or a wh-clause, with answering sentences."""

    question: str
    points: tuple[str, ...]

    @property
    def is_clause(self) -> bool:
        """Whether the question is a wh-clause rather than a verb phrase."""
        return self.question.split()[0] in WH_WORDS


@cache
def topics(of: str) -> tuple[Topic, ...]:
    """The topics of ``safety``, and those it lacks: of the ``proxies`` and of the ``general`` task.

    Raises KeyError for another name.
    """
    return tuple(Topic(*item) for item in content(__file__, "lookalikes.yaml")[of].items())
