"""Prompts to answer: a dataset's, or those of a file that has prompts alone."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from finebound.base.errors import InputError
from llm_validation.data.catalogue import find
from llm_validation.data.cells import BadRowError
from llm_validation.data.columns import TURN_COLUMNS
from llm_validation.data.dataset import Dataset, Example
from llm_validation.data.formats import data_extension, read_rows
from llm_validation.data.loading import load_dataset, require_columns
from llm_validation.evaluation.answer_layouts import request_of

_OF_PROBES = frozenset({"Behavior", "forbidden_prompt", "prompt_text"})
_ANSWERED = frozenset({"response", "output", "answer", "completion", "target", "chosen"})


def load_prompts(ref: str | Path, *, ignore_columns: Collection[str] = ()) -> Dataset:
    """The prompts that ``ref`` names; the responses of what comes back are not to be read.

    ``ref`` is what ``load_dataset`` takes, a data file whose rows have a prompt (a text, or turns
    that end with the user's) and no answer, or a set of harmful requests as a file or by its name,
    whose harmless ones have the category of such. ``ignore_columns`` are left unread.
    Raises InputError naming file, row and remedy.
    """
    path = Path(ref).expanduser()
    entry = None if path.exists() else find(str(ref))
    if entry is not None and not entry.answers:
        return _probes(str(ref))
    if not path.is_file() or data_extension(path) is None:
        return load_dataset(ref, role="prompts", ignore_columns=ignore_columns)
    first = next((row for _, row in read_rows(path)), {})
    if _OF_PROBES & set(first):
        return _probes(str(path))
    if _ANSWERED & set(first) or not _asks(first):
        return load_dataset(path, role="prompts", ignore_columns=ignore_columns)
    require_columns(ignore_columns, {str(path): first})
    examples = []
    for number, row in read_rows(path):
        try:
            turns = request_of({k: v for k, v in row.items() if k not in ignore_columns})
        except BadRowError as problem:
            raise InputError(
                problem.what, remedy=problem.remedy, file=path, row=number
            ) from problem
        category = row.get("category")
        examples.append(
            Example(
                "\n".join(text for _, text in turns),
                "",
                turns,
                category=None if category in (None, "") else str(category),
                origin=(str(path), number),
            )
        )
    return Dataset.of(examples, name=path.stem, source=str(path))


def _asks(row: dict[str, Any]) -> bool:
    """Whether the row has a prompt, and no dialogue that ends with its answer."""
    try:
        request_of(row)
    except BadRowError:
        return not any(name in row for name in TURN_COLUMNS)
    return True


def _probes(ref: str) -> Dataset:
    from llm_validation.data.builtin.requests import HARMLESS
    from llm_validation.evaluation.hazards.probes import load_probes

    found = load_probes(ref)
    examples = [
        Example.single_turn(
            probe.prompt, "", category=probe.category if probe.harmful else HARMLESS
        )
        for probe in found.probes
    ]
    return Dataset.of(examples, name=found.name, source=found.source)
