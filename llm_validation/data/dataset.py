"""The noun of every measure: an ordered, named, hashed set of prompts and their answers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True, slots=True)
class Example:
    """One supervised row.

    ``prompt`` is the text of the tools on offer and of every turn before the answer, joined by
    newlines (what the text measures read); ``response`` the supervised answer; ``messages`` the
    ``(role, content)`` turns before it (what the chat template reads). ``rejected`` is set only in
    preference data, ``category`` (a hazard category or another label) only when the source has
    one. ``origin`` is the file and the row (from 1) that it was read from: for errors, no part of
    the content.

    What only the chat template reads: ``tools`` is the JSON list of the tools on offer,
    ``turn_fields`` holds ``(turn, JSON object)`` of what a turn has beside role and content
    (``tool_calls``, ``reasoning_content``), ``len(messages)`` being the answer's turn. A "content"
    in it is what the template gets as content: the ``response`` of an answer that is calls alone
    is their JSON, and its content "". Roles are system, user, assistant and tool.
    ``unlearnt`` are the earlier assistant turns that the source marks as not to be learnt.
    """

    prompt: str
    response: str
    messages: tuple[tuple[str, str], ...]
    rejected: str | None = None
    category: str | None = None
    origin: tuple[str, int] | None = field(default=None, compare=False, repr=False)
    tools: str | None = None
    turn_fields: tuple[tuple[int, str], ...] = ()
    unlearnt: tuple[int, ...] = ()

    @classmethod
    def single_turn(cls, prompt: str, response: str, *, category: str | None = None) -> Example:
        """A row with one user turn and its answer."""
        return cls(prompt, response, (("user", prompt),), category=category)


@dataclass(frozen=True)
class LeftOut:
    """Rows of a file (from 1) that are in no example, and the ``reason`` in a few words."""

    reason: str
    rows: tuple[int, ...]


@dataclass(frozen=True)
class Reading:
    """How a source was read: a person should see all of it.

    ``left_out`` are the rows that became no example, by reason. ``unread_columns`` were in the
    file and are in no example. ``notes`` are whole sentences on anything else worth knowing.
    """

    left_out: tuple[LeftOut, ...] = ()
    unread_columns: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


READ_WHOLE = Reading()


@dataclass(frozen=True)
class Dataset:
    """An ordered set of examples; ``sha256`` is that of the content, order included.

    ``source`` says where the content came from: a path, ``builtin:...``, ``hf:...`` or
    ``memory``; ``reading`` how it was read, which is no part of the content.
    """

    name: str
    examples: tuple[Example, ...]
    sha256: str
    source: str
    reading: Reading = field(default=READ_WHOLE, compare=False, repr=False)

    @classmethod
    def of(
        cls,
        pairs: Iterable[tuple[str, str] | Example],
        *,
        name: str,
        source: str = "memory",
        reading: Reading = READ_WHOLE,
    ) -> Dataset:
        """A dataset of ``(prompt, response)`` pairs, of examples, or of both, with its hash."""
        examples = tuple(
            pair if isinstance(pair, Example) else Example.single_turn(*pair) for pair in pairs
        )
        return cls(name, examples, content_sha256(examples), source, reading)

    def __len__(self) -> int:
        return len(self.examples)

    @property
    def prompts(self) -> list[str]:
        """The prompt of every example, in order."""
        return [example.prompt for example in self.examples]

    @property
    def responses(self) -> list[str]:
        """The supervised answer of every example, in order."""
        return [example.response for example in self.examples]

    def take(self, n: int, seed: int) -> Dataset:
        """``n`` examples drawn without replacement, in this dataset's order.

        Deterministic in ``seed``; name and source stay, the hash is that of what was drawn.
        Raises ValueError when ``n`` is negative or more than there are.
        """
        if not 0 <= n <= len(self):
            raise ValueError(f"cannot take {n} of the {len(self)} examples of {self.name}")
        drawn = np.sort(np.random.default_rng(seed).permutation(len(self))[:n])
        return Dataset.of(
            (self.examples[index] for index in drawn),
            name=self.name,
            source=self.source,
            reading=self.reading,
        )


def joined(parts: Sequence[Dataset]) -> Dataset:
    """One dataset of all rows of ``parts``, in their order; of one part, that part."""
    if len(parts) == 1:
        return parts[0]
    reading = Reading(
        left_out=tuple(
            LeftOut(f"{part.name}: {one.reason}", one.rows)
            for part in parts
            for one in part.reading.left_out
        ),
        unread_columns=tuple(
            dict.fromkeys(name for part in parts for name in part.reading.unread_columns)
        ),
        notes=tuple(f"{part.name}: {note}" for part in parts for note in part.reading.notes),
    )
    return Dataset.of(
        (example for part in parts for example in part.examples),
        name=" + ".join(part.name for part in parts),
        source=", ".join(part.source for part in parts),
        reading=reading,
    )


def content_sha256(examples: Iterable[Example]) -> str:
    """SHA-256 of the examples' content in their order, as 64 hex digits.

    One JSON line an example, so no text can run into the next field or row.
    """
    digest = hashlib.sha256()
    for example in examples:
        # Escaped to ASCII: a lone surrogate from a broken file still has a hash.
        fields = (
            example.prompt,
            example.response,
            example.messages,
            example.rejected,
            example.category,
        )
        # Only where there are any: the hashes of plain rows stay what they were.
        more = (example.tools, example.turn_fields, example.unlearnt)
        if any(more):
            fields += more
        digest.update(json.dumps(fields).encode() + b"\n")
    return digest.hexdigest()
