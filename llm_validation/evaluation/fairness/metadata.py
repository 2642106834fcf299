"""The place of the stereotyped answer from BBQ's ``additional_metadata.csv``, beside the items."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

from finebound.base.errors import InputError
from llm_validation.data.formats import read_rows
from llm_validation.evaluation.fairness.choice import whole_number
from llm_validation.evaluation.fairness.items import category_named

NAME = "additional_metadata.csv"
_FOLDERS = ("", "supplemental", "analysis_scripts")


@cache
def target_places(folder: Path) -> dict[tuple[str, str], int]:
    """The stereotyped answer by ``(category, example_id)``, by the metadata of a folder.

    They lie in it or in its next two parents, or there in ``supplemental`` or ``analysis_scripts``,
    as in the authors' repository. Empty without such a file. Items of no known place are left out.
    Raises InputError for a file without the columns. Source: Parrish et al. 2022, whose analysis
    takes the place from there and not from the items' tags, which err in some.
    """
    file = next((path for path in _candidates(folder) if path.is_file()), None)
    places: dict[tuple[str, str], int] = {}
    for number, row in () if file is None else read_rows(file):
        if not row.keys() >= {"category", "example_id", "target_loc"}:
            raise InputError(
                "the columns category, example_id and target_loc are not all there.",
                remedy="Take the file from BBQ's repository, or move it elsewhere.",
                file=file,
                row=number,
            )
        category, place = category_named(str(row["category"])), whole_number(row["target_loc"])
        identity = whole_number(row["example_id"])
        if category is not None and identity is not None and place in (0, 1, 2):
            places[category, str(identity)] = place
    return places


def _candidates(folder: Path) -> Iterator[Path]:
    folder = folder.resolve()
    for above in (folder, *list(folder.parents)[:2]):
        yield from (above / name / NAME for name in _FOLDERS)
