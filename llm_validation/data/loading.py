"""One way in for every dataset: a file, a folder, a hub id, a catalogue name or a built-in one."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from finebound.errors import InputError
from llm_validation.data.dataset import Dataset, Example
from llm_validation.data.layouts import read_examples
from llm_validation.data.mt_pref import is_released, x_to_english
from llm_validation.data.references import did_you_mean, find_table


def load_dataset(ref: str | Path, *, role: str = "dataset", drop_unusable: bool = False) -> Dataset:
    """The dataset that a reference names.

    ``ref`` is the path of a data file or of a folder with one, ``builtin:NAME``,
    ``hf:owner/name[:split]``, ``hf:/path/of/a/folder[:split]`` or a name of the catalogue.
    ``role`` ("safety", "task", ...) is named in errors. Every row is read or the file is refused;
    with ``drop_unusable`` (some entries of the catalogue ask for it) rows with an empty prompt or
    answer are left out, and ``source`` says how many. Of MT-Pref as released, wherever it lies, the
    rows into English remain, with the source text alone as prompt.
    Raises InputError naming file, row and remedy.
    """
    try:
        return _load(ref, drop_unusable)
    except InputError as problem:
        if role == "dataset":
            raise
        raise InputError(
            f"cannot be used as the {role} dataset: {problem.what}",
            remedy=problem.remedy,
            file=problem.file,
            row=problem.row,
        ) from problem


def require_rows(dataset: Dataset, *, at_least: int = 2, role: str = "dataset") -> None:
    """Raises InputError when the dataset has fewer than ``at_least`` rows."""
    if len(dataset) < at_least:
        raise InputError(
            f"the {role} {'' if role == 'dataset' else 'dataset '}has {len(dataset)} "
            f"row{'' if len(dataset) == 1 else 's'}; at least {at_least} are needed.",
            remedy="Add rows: a spread cannot be estimated from fewer.",
            file=dataset.source,
        )


def require_different(
    a: Dataset, b: Dataset, *, roles: tuple[str, str] = ("safety", "task")
) -> None:
    """Raises InputError when two datasets have the same content (by ``sha256``)."""
    if a.sha256 == b.sha256:
        raise InputError(
            f"the {roles[0]} and the {roles[1]} dataset have the same content "
            f"({a.source} and {b.source}).",
            remedy="Name two different datasets: between equal ones there is no trade-off.",
            file=b.source,
        )


def _load(ref: str | Path, drop: bool) -> Dataset:
    if isinstance(ref, str) and ref.startswith("builtin:"):
        return _from_builtin(ref.removeprefix("builtin:"))
    table = find_table(ref, with_answers=True)
    examples: list[Example] = []
    left_out: Counter[str] = Counter()
    for file, rows in table.parts(vectors=False):
        some, unusable = read_examples(rows, file=file, drop_unusable=drop or table.drop_unusable)
        examples += some
        left_out += unusable
    dataset = Dataset.of(examples, name=table.name, source=_with_count(table.source, left_out))
    return x_to_english(dataset) if is_released(dataset) else dataset


def _from_builtin(name: str) -> Dataset:
    from llm_validation.data.builtin import BUILTIN, builtin_dataset

    if name not in BUILTIN:
        raise InputError(
            f"there is no built-in dataset {name!r}.{did_you_mean(name, list(BUILTIN))}",
            remedy=f"Use one of {', '.join(BUILTIN)}.",
            file=f"builtin:{name}",
        )
    return builtin_dataset(name)


def _with_count(source: str, left_out: Counter[str]) -> str:
    if not left_out:
        return source
    reasons = "; ".join(f"{count} where {what}" for what, count in left_out.items())
    return f"{source} ({left_out.total()} rows left out: {reasons})"
