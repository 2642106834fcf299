"""Prompts to answer: a dataset's, or those of a file that has prompts alone."""

from __future__ import annotations

from pathlib import Path

from finebound.errors import InputError
from llm_validation.data.catalogue import find
from llm_validation.data.dataset import Dataset, Example
from llm_validation.data.formats import data_extension, read_rows
from llm_validation.data.layouts import PROMPT_COLUMNS
from llm_validation.data.loading import load_dataset


def load_prompts(ref: str | Path) -> Dataset:
    """The prompts that ``ref`` names; the responses of what comes back are not to be read.

    ``ref`` is what ``load_dataset`` takes, a data file whose rows have a prompt and no answer, or a
    catalogue's set of harmful requests, whose harmless ones have the category of such.
    Raises InputError naming file, row and remedy.
    """
    path = Path(ref).expanduser()
    entry = None if path.exists() else find(str(ref))
    if entry is not None and not entry.answers:
        return _probes(str(ref))
    if not path.is_file() or data_extension(path) is None:
        return load_dataset(ref, role="prompts")
    first = next((row for _, row in read_rows(path)), {})
    column = next((name for name in PROMPT_COLUMNS if name in first), None)
    if column is None or set(first) & {"response", "output", "answer", "completion", "target"}:
        return load_dataset(path, role="prompts")
    examples = []
    for number, row in read_rows(path):
        prompt = row.get(column)
        if not isinstance(prompt, str) or not prompt.strip():
            raise InputError(
                f"the row has no text in its column {column!r}.",
                remedy="Write the prompt there, or remove the row.",
                file=path,
                row=number,
            )
        category = row.get("category")
        examples.append(
            Example(
                prompt,
                "",
                (("user", prompt),),
                category=None if category in (None, "") else str(category),
                origin=(str(path), number),
            )
        )
    return Dataset.of(examples, name=path.stem, source=str(path))


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
