"""The committed records: the data of each figure and the manifest of what made them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from finebound.base.errors import InputError
from finebound.base.integrity import Damaged
from finebound.base.records import manifest, spawn_seed
from finebound.results.figure import FigureRecord
from paper_figures.paths import record_file
from paper_figures.registry import data_of


def command(figure: str) -> str:
    """The command that makes the record of ``figure``."""
    return f"python -m paper_figures.records {figure}"


def make_record(figure: str, *, seed: int) -> dict[str, Any]:
    """The record of ``figure`` made anew: its name, its data and their manifest.

    ``seed`` is the master seed; the figure's own is spawned from it by name.
    """
    data = data_of(figure, spawn_seed(seed, figure))
    given = {"command": f"{command(figure)} --seed {seed}"}
    return {
        "figure": figure,
        "manifest": manifest(given=given, inputs={}, seed=seed),
        "data": data,
    }


def write_record(record: dict[str, Any]) -> Path:
    """Put the record in its place among the committed ones."""
    return FigureRecord.of(record).save(record_file(record["figure"]))


def read_record(figure: str) -> dict[str, Any]:
    """The committed record. Raises InputError, with the command that makes it, if there is none."""
    file = record_file(figure)
    remedy = f"Make it with `{command(figure)}`."
    if not file.exists():
        raise InputError("is missing: the figure's record.", remedy=remedy, file=file)
    try:
        record = FigureRecord.load(file)
    except Damaged as error:
        raise InputError(f"cannot be read: {error.what}", remedy=remedy, file=file) from None
    except InputError as error:
        what = f"is not the record of {figure}: {error.what}"
        raise InputError(what, remedy=remedy, file=file) from None
    if record.figure != figure:
        raise InputError(f"is not the record of {figure}.", remedy=remedy, file=file)
    return record.to_dict()
