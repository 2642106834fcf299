"""One way in for every dataset: a file, a folder, a hub id, a catalogue name or a built-in one."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from finebound.base.errors import InputError
from llm_validation.data.cells import listed
from llm_validation.data.dataset import Dataset, LeftOut
from llm_validation.data.mt_pref import is_released, x_to_english
from llm_validation.data.references import did_you_mean, find_table
from llm_validation.data.rows import ExampleReader


def load_dataset(
    ref: str | Path,
    *,
    role: str = "dataset",
    drop_unusable: bool = False,
    ignore_columns: Collection[str] = (),
) -> Dataset:
    """The dataset that a reference names.

    ``ref`` is the path of a data file or of a folder with one, ``builtin:NAME``,
    ``hf:owner/name[:split]``, ``hf:/path/of/a/folder[:split]`` or a name of the catalogue.
    ``role`` ("safety", "task", ...) is named in errors. Every row is read or the file is refused,
    but for rows that their source marks as not to be learnt. With ``drop_unusable`` (some entries
    of the catalogue ask for it) rows that cannot be read as an example are left out. ``source``
    says how many rows were left out, ``reading`` which and why. Every column is read or named in
    ``reading``; one that looks like text of the prompt and is not read is an error, unless
    ``ignore_columns`` names it. Of MT-Pref as released, wherever it lies, the rows into English
    remain, with the source text alone as prompt.
    Raises InputError naming file, row and remedy; also where ``ignore_columns`` names a column that
    is not there.
    """
    dataset, columns = load_with_columns(
        ref, role=role, drop_unusable=drop_unusable, ignore_columns=ignore_columns
    )
    require_columns(ignore_columns, {dataset.source: columns})
    return dataset


def load_with_columns(
    ref: str | Path,
    *,
    role: str = "dataset",
    drop_unusable: bool = False,
    ignore_columns: Collection[str] = (),
) -> tuple[Dataset, tuple[str, ...]]:
    """``load_dataset`` and the columns that were there, of which ``ignore_columns`` may lack some.

    For several data sets under one list of columns: ``require_columns`` checks it for them all.
    """
    try:
        return _load(ref, drop_unusable, ignore_columns)
    except InputError as problem:
        if role == "dataset":
            raise
        raise InputError(
            f"cannot be used as the {role} dataset: {problem.what}",
            remedy=problem.remedy,
            file=problem.file,
            row=problem.row,
        ) from problem


def require_columns(names: Iterable[str], columns: Mapping[str, Collection[str]]) -> None:
    """Raises InputError for a name that is no column of any of the sources."""
    everywhere = [name for found in columns.values() for name in found]
    for name in names:
        if name not in everywhere:
            raise InputError(
                f"there is no column {name!r} to ignore.{did_you_mean(name, everywhere)} Found: "
                f"{listed(everywhere) or 'no columns'}.",
                remedy="Correct `ignore_columns`, or leave it out.",
                file=", ".join(columns),
            )


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


def _load(ref: str | Path, drop: bool, ignore: Collection[str]) -> tuple[Dataset, tuple[str, ...]]:
    if isinstance(ref, str) and ref.startswith("builtin:"):
        return _from_builtin(ref.removeprefix("builtin:")), ()
    table = find_table(ref, with_answers=True)
    reader = ExampleReader(
        drop_unusable=drop or table.drop_unusable, ignore=ignore, known=table.columns
    )
    for file, rows in table.parts(vectors=False):
        reader.read(rows, file=file)
    reading = reader.reading()
    source = _with_count(table.source, reading.left_out)
    dataset = Dataset.of(reader.examples, name=table.name, source=source, reading=reading)
    return (x_to_english(dataset) if is_released(dataset) else dataset), tuple(reader.columns)


def _from_builtin(name: str) -> Dataset:
    from llm_validation.data.builtin import BUILTIN, builtin_dataset

    if name not in BUILTIN:
        raise InputError(
            f"there is no built-in dataset {name!r}.{did_you_mean(name, list(BUILTIN))}",
            remedy=f"Use one of {', '.join(BUILTIN)}.",
            file=f"builtin:{name}",
        )
    return builtin_dataset(name)


def _with_count(source: str, left_out: Iterable[LeftOut]) -> str:
    if not left_out:
        return source
    reasons = [f"{len(part.rows)} where {part.reason}" for part in left_out]
    more = f"; {len(reasons) - 5} more reasons" if len(reasons) > 5 else ""
    total = sum(len(part.rows) for part in left_out)
    return f"{source} ({total} rows left out: {'; '.join(reasons[:5])}{more})"
