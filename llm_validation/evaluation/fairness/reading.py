"""Reading BBQ's files: items, with predictions or without, and predictions for items."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from finebound.errors import InputError
from llm_validation.data.formats import data_extension, read_rows
from llm_validation.evaluation.fairness.items import (
    CATEGORIES,
    INTERSECTIONS,
    Exclusions,
    Item,
    ItemSet,
    counted,
    is_excluded,
)
from llm_validation.evaluation.fairness.rows import RowReader

PREDICTION = "prediction"
"""The field that holds a prediction, where no other is named."""


def load_items(ref: str | Path, *, exclusions: Exclusions | None = "study") -> ItemSet:
    """The items that ``ref`` names: "builtin", a file or folder, "bbq" of the catalogue, hf:...

    ``exclusions`` are those of ``read_items``; the built-in set has no faulty rows. Raises
    InputError, for a set that cannot be reached with how to get it.
    """
    from llm_validation.data.references import find_table
    from llm_validation.evaluation.fairness.builtin import NAME, builtin_bbq

    if str(ref) in ("builtin", NAME):
        return builtin_bbq()
    path = Path(ref).expanduser()
    if path.exists():
        return read_items(path, exclusions=exclusions)
    table = find_table(ref)
    rows = ((Path(file), *row) for file, rows in table.parts() for row in rows)
    return items_of(rows, table.source, exclusions=exclusions)


def read_items(
    file: Path,
    *,
    exclusions: Exclusions | None = "study",
    with_predictions: bool = False,
    field: str = PREDICTION,
) -> ItemSet:
    """The items of a file with BBQ's fields (JSON Lines, JSON, CSV, Parquet), or a folder of such.

    ``with_predictions`` also reads the predictions in ``field``: the number of an answer, its
    letter, its text, or null. Rows known to be faulty are left out and counted: 16 of
    Gender_identity, with "study" 184 of Race_ethnicity too; so are the crossed categories. Raises
    InputError naming file and row for a row that is not an item, comes twice, or whose stereotyped
    answer cannot be told.
    """
    return items_of(
        _numbered(file),
        str(file),
        exclusions=exclusions,
        with_predictions=with_predictions,
        field=field,
    )


def items_of(
    rows: Iterable[tuple[Path, int, Mapping[str, Any]]],
    source: str,
    *,
    exclusions: Exclusions | None = None,
    with_predictions: bool = False,
    field: str = PREDICTION,
) -> ItemSet:
    """``read_items`` of rows already read: ``(file, 1-based number, fields)`` each.

    Without ``exclusions`` no number is known to be faulty: for data that are not BBQ's own.
    """
    items: list[Item] = []
    predictions: list[int | None] = []
    left_out: Counter[str] = Counter()
    seen: dict[str, tuple[Path, int]] = {}
    for path, number, row in rows:
        reader = RowReader(row, path, number)
        category, identity = reader.category(), reader.identity()
        key = f"{category}/{identity}"
        if key in seen:
            where, first = seen[key]
            raise InputError(
                f"the item {identity} of {category} is in the data twice (first in {where}, "
                f"row {first}).",
                remedy="Keep one of the two: an item counts once.",
                file=path,
                row=number,
            )
        seen[key] = (path, number)
        if category in INTERSECTIONS:
            left_out[f"of {category}, which crosses two dimensions"] += 1
            continue
        if exclusions is not None and is_excluded(category, identity, exclusions):
            left_out[f"of {category}, known to be faulty"] += 1
            continue
        item = reader.item(category, identity)
        items.append(item)
        if with_predictions:
            predictions.append(reader.prediction(field, item.answers))
    if not items:
        raise InputError(
            "no item is left to score"
            + (f": left out were {counted(left_out)}." if left_out else ": there are no rows."),
            remedy=f"Give items of {', '.join(CATEGORIES)}.",
            file=source,
        )
    found = tuple(predictions) if with_predictions else None
    return ItemSet(tuple(items), source, left_out, found)


def match_predictions(
    file: Path,
    reference: ItemSet,
    *,
    exclusions: Exclusions | None = "study",
    categories: Collection[str] = (),
    field: str = PREDICTION,
) -> ItemSet:
    """The predictions of ``file`` for the items of ``reference``, in the reference's order.

    The file needs only ``category``, ``example_id`` and ``field``, in any order; with
    ``categories`` its rows of others are passed over. Raises InputError for an item of the
    reference without a prediction, for one that comes twice and for a prediction whose item is
    not in the reference.
    """
    wanted = {item.key: item for item in reference.items}
    found: dict[str, tuple[int | None, int]] = {}
    for path, number, row in _numbered(file):
        reader = RowReader(row, path, number)
        category, identity = reader.category(), reader.identity()
        if categories and category not in categories:
            continue
        key = f"{category}/{identity}"
        if key in found:
            raise InputError(
                f"the item {identity} of {category} is predicted twice (first in row "
                f"{found[key][1]}).",
                remedy="Keep one of the two.",
                file=path,
                row=number,
            )
        left_out = category in INTERSECTIONS or (
            exclusions is not None and is_excluded(category, identity, exclusions)
        )
        if key not in wanted and not left_out:
            raise InputError(
                f"the item {identity} of {category} is not in {reference.source}.",
                remedy="Give the data that the predictions were made for with --data.",
                file=path,
                row=number,
            )
        item = wanted.get(key)
        found[key] = (item and reader.prediction(field, item.answers), number)
    missing = [key for key in wanted if key not in found]
    if missing:
        raise InputError(
            f"{len(missing)} of {len(wanted)} items have no prediction, the first is "
            f"{missing[0].replace('/', ' ')}.",
            remedy="Write a row for each item, with null where the answer could not be read; an "
            "item that is not there cannot count as wrong.",
            file=file,
        )
    return ItemSet(
        reference.items,
        str(file),
        reference.left_out,
        tuple(found[key][0] for key in wanted),
    )


def _numbered(file: Path) -> Iterator[tuple[Path, int, Mapping[str, Any]]]:
    for path in _files(file):
        for number, row in read_rows(path):
            yield path, number, row


def _files(path: Path) -> list[Path]:
    if not path.exists():
        raise InputError("there is no such file or folder.", remedy="Check the path.", file=path)
    if path.is_dir():
        inside = sorted(child for child in path.iterdir() if data_extension(child))
        if not inside:
            raise InputError(
                "the folder holds no .jsonl, .json, .csv or .parquet file.",
                remedy="Give the folder with BBQ's data files.",
                file=path,
            )
        return [file for child in inside for file in _files(child)]
    return [path]
