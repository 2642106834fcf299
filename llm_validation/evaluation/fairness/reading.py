"""Reading BBQ's files: items, with predictions or without, and predictions for items."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from finebound.base.errors import InputError
from finebound.base.text import counted_rows
from llm_validation.data.formats import data_extension
from llm_validation.evaluation.fairness.items import (
    CATEGORIES,
    INTERSECTIONS,
    Exclusions,
    Faulty,
    Item,
    ItemSet,
    is_excluded,
)
from llm_validation.evaluation.fairness.logged import as_prediction
from llm_validation.evaluation.fairness.metadata import NAME as METADATA
from llm_validation.evaluation.fairness.rows import RowReader, UnscorableError
from llm_validation.evaluation.harness_logs import logged_rows

PREDICTION = "prediction"
"""The field that holds a prediction, where no other is named."""


def read_items(
    file: Path,
    *,
    exclusions: Exclusions | None = "study",
    with_predictions: bool = False,
    field: str = PREDICTION,
) -> ItemSet:
    """The items of a file with BBQ's fields (JSON Lines, JSON, CSV, Parquet), or a folder of such.

    ``with_predictions`` also reads the predictions in ``field``: the number of an answer, its
    letter, its text, prose that names one, or null. Rows known to be faulty are left out and
    counted: 16 of Gender_identity, with "study" 184 of Race_ethnicity too; so are the crossed
    categories, the items whose stereotyped answer neither their tags nor the authors' metadata
    tell, and those whose prediction names no answer, as in the paper's analysis. Raises InputError
    naming file and row for a row that is not an item, or comes twice.
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
    faulty: list[Faulty] = []
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
        try:
            item = reader.item(category, identity)
            if with_predictions:
                predictions.append(reader.prediction(field, item))
            items.append(item)
        except UnscorableError as error:
            faulty.append(_faulty(key, error, path, number))
            left_out[error.reason] += 1
    if not items:
        raise InputError(
            "no item is left to score"
            + (f": left out were {counted_rows(left_out)}" if left_out else ": there are no rows")
            + (f"; the first is {faulty[0].shown}." if faulty else "."),
            remedy=f"Give items of {', '.join(CATEGORIES)}.",
            file=source,
        )
    found = tuple(predictions) if with_predictions else None
    return ItemSet(tuple(items), source, left_out, found, faulty=tuple(faulty))


def _faulty(key: str, error: UnscorableError, path: Path, number: int) -> Faulty:
    return Faulty(key, error.reason, f"{path.name}, row {number}: {error.shown}")


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
    ``categories`` its rows of others are passed over. Items whose prediction names no answer are
    left out and counted. Raises InputError for an item of the reference without a prediction, for
    one that comes twice and for a prediction whose item is not in the reference.
    """
    wanted = {item.key: item for item in reference.items}
    unscored = {row.key for row in reference.faulty}
    faulty: dict[str, Faulty] = {}
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
        excluded = (
            key in unscored
            or category in INTERSECTIONS
            or (exclusions is not None and is_excluded(category, identity, exclusions))
        )
        if key not in wanted and not excluded:
            raise InputError(
                f"the item {identity} of {category} is not in {reference.source}.",
                remedy="Give the data that the predictions were made for as `data`.",
                file=path,
                row=number,
            )
        found[key] = (None, number)
        if key in wanted:
            try:
                found[key] = (reader.prediction(field, wanted[key]), number)
            except UnscorableError as error:
                faulty[key] = _faulty(key, error, path, number)
    missing = [key for key in wanted if key not in found]
    if missing:
        raise InputError(
            f"{len(missing)} of {len(wanted)} items have no prediction, the first is "
            f"{missing[0].replace('/', ' ')}.",
            remedy="Write a row for each item, with null where the answer could not be read; an "
            "item that is not there cannot count as wrong.",
            file=file,
        )
    kept = [key for key in wanted if key not in faulty]
    left_out = reference.left_out + Counter(row.reason for row in faulty.values())
    if not kept:
        raise InputError(
            f"no item is left to score: left out were {counted_rows(left_out)}; the first is "
            f"{next(iter(faulty.values())).shown}.",
            remedy="Name the field of the predictions as `field`.",
            file=file,
        )
    return ItemSet(
        tuple(wanted[key] for key in kept),
        str(file),
        left_out,
        tuple(found[key][0] for key in kept),
        faulty=(*reference.faulty, *faulty.values()),
    )


def _numbered(file: Path) -> Iterator[tuple[Path, int, Mapping[str, Any]]]:
    for path in _files(file):
        for number, row in logged_rows(path, _rows_of):
            yield path, number, as_prediction(row, path, number)


def _rows_of(content: dict[str, Any]) -> list[Any] | None:
    """The rows of a JSON file that is one object: its data, or a log of inspect_ai."""
    return content.get("data", content.get("samples"))


def _files(path: Path) -> list[Path]:
    if not path.exists():
        raise InputError("there is no such file or folder.", remedy="Check the path.", file=path)
    if path.is_dir():
        inside = sorted(
            child for child in path.iterdir() if data_extension(child) and child.name != METADATA
        )
        if not inside:
            raise InputError(
                "the folder holds no .jsonl, .json, .csv or .parquet file.",
                remedy="Give the folder with BBQ's data files.",
                file=path,
            )
        return [file for child in inside for file in _files(child)]
    return [path]
