"""The rows of the exported tasks: every probe and every item, as the harnesses read them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from finebound.base.errors import InputError
from llm_validation.evaluation.fairness.answering import generation_prompt
from llm_validation.evaluation.fairness.builtin import builtin_bbq, builtin_rows
from llm_validation.evaluation.fairness.logged import BY_LETTER
from llm_validation.evaluation.hazards.probes import builtin_pairs


def refusal_rows() -> list[dict[str, Any]]:
    """The harmful probes, each followed by its matched look-alike."""
    return [
        {"id": p.id, "prompt": p.prompt, "category": p.category, "harmful": p.harmful}
        for p in builtin_pairs().probes
    ]


def bbq_rows() -> list[dict[str, Any]]:
    """The built-in items with BBQ's fields, an id, and the prompt that asks for a letter."""
    return [
        {"id": item.key, "prompt": generation_prompt(item), "answered_by": BY_LETTER, **row}
        for item, row in zip(builtin_bbq().items, builtin_rows(), strict=True)
    ]


def as_lines(rows: Sequence[dict[str, Any]]) -> bytes:
    """JSON Lines of the rows, the same bytes everywhere."""
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def rows_of_task(file: Path, expected: str) -> list[dict[str, Any]]:
    """The rows of an exported file. Raises InputError where its SHA-256 is not the ``expected``."""
    content = file.read_bytes()
    if sha256(content).hexdigest() != expected:
        raise InputError(
            "these are not the rows that the task was exported with.",
            remedy="Write the folder again with `finebound export-tasks --out DIR`.",
            file=file,
        )
    return [json.loads(line) for line in content.splitlines()]
