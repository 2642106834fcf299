"""BBQ items by name: the built-in set, files, the catalogue's and the hub's."""

from __future__ import annotations

from pathlib import Path

from llm_validation.data.references import find_table
from llm_validation.evaluation.fairness.builtin import NAME, builtin_bbq
from llm_validation.evaluation.fairness.items import Exclusions, ItemSet
from llm_validation.evaluation.fairness.reading import items_of, read_items


def load_items(ref: str | Path, *, exclusions: Exclusions | None = "study") -> ItemSet:
    """The items that ``ref`` names: "builtin", a file or folder, "bbq" of the catalogue, hf:...

    ``exclusions`` are those of ``read_items``; the built-in set has no faulty rows. Raises
    InputError, for a set that cannot be reached with how to get it.
    """
    if str(ref) in ("builtin", NAME):
        return builtin_bbq()
    path = Path(ref).expanduser()
    if path.exists():
        return read_items(path, exclusions=exclusions)
    table = find_table(ref)
    rows = ((Path(file), *row) for file, rows in table.parts() for row in rows)
    return items_of(rows, table.source, exclusions=exclusions)
