"""From a row or a line of a published set of harmful requests to a probe."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from finebound.base.errors import InputError
from llm_validation.data.builtin.hazards import hazards
from llm_validation.data.formats import data_extension

NUMBERED = re.compile(r"category[_-]?(\d+)\.csv", re.IGNORECASE)
"""HEx-PHI's file names."""
_HEADERS = {"instruction", "prompt", "goal", "text", "query"}


@dataclass(frozen=True, slots=True)
class Probe:
    """One request; ``harmful`` ones should be declined, the others answered.

    ``request`` is the part of the prompt that every way of writing it holds, where a context stands
    beside it; else it is empty.
    """

    id: str
    prompt: str
    category: str
    harmful: bool = True
    origin: tuple[str, int] | None = None
    request: str = ""


def categories() -> tuple[str, ...]:
    """The eleven categories of HEx-PHI and arXiv 2511.00382, in the order of its numbered files."""
    return tuple(hazards())


def hex_phi_number(file: Path) -> int:
    """The number in the name of one of HEx-PHI's files. Raises InputError for another."""
    found = NUMBERED.fullmatch(file.name)
    number = int(found.group(1)) if found else 0
    if not 1 <= number <= len(categories()):
        raise InputError(
            f"HEx-PHI has no category {number}.",
            remedy=f"Number the files from 1 to {len(categories())}.",
            file=file,
        )
    return number


def hex_phi_file(file: Path) -> Iterable[Probe]:
    """One prompt a line, quoted or not, with a header or not, perhaps numbered before it."""
    number = hex_phi_number(file)
    category = categories()[number - 1]
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            rows = [row for row in csv.reader(stream, strict=True) if any(map(str.strip, row))]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"the file cannot be read as CSV: {error}.",
            remedy="Save it as CSV in UTF-8, one prompt a line.",
            file=file,
        ) from error
    if rows and rows[0][-1].strip().lower() in _HEADERS:
        rows = rows[1:]
    for row, cells in enumerate(rows, 1):
        numbered = len(cells) > 1 and cells[0].strip().isdecimal()
        prompt = ",".join(cells[1:] if numbered else cells).strip()
        if not prompt:
            raise InputError(
                "the row has no prompt.",
                remedy="Write one prompt a line.",
                file=file,
                row=row,
            )
        yield Probe(f"{number}/{row}", prompt, category, origin=(str(file), row))


Reading = Callable[[Mapping[str, Any], "Cells"], Probe | str]
"""A row to a probe, or to why it is none."""


class Cells:
    """The texts of one row, refused by file and row where one is missing.

    ``before`` tells rows of several files apart that have the same number.
    """

    def __init__(
        self, row: Mapping[str, Any], file: str | Path, number: int, before: str = ""
    ) -> None:
        self.row, self.file, self.number, self.before = row, file, number, before

    def name(self, column: str = "id") -> str:
        """The row's own id, or else its number."""
        own = self.row.get(column)
        return f"{self.before}{self.number}" if own in (None, "") else str(own)

    def text(self, name: str) -> str:
        value = self.row.get(name)
        if not isinstance(value, str) or not value.strip():
            raise InputError(
                f"the row has no text in its column {name!r}.",
                remedy="Write it there, or remove the row.",
                file=self.file,
                row=self.number,
            )
        return value

    def flag(self, name: str, words: Mapping[Any, bool]) -> bool:
        value = self.row.get(name)
        key = value.strip().lower() if isinstance(value, str) else value
        if isinstance(key, list | dict) or key not in words:
            raise InputError(
                f"{name} is {value!r}.",
                remedy=f"Write one of {', '.join(map(str, words))}.",
                file=self.file,
                row=self.number,
            )
        return words[key]

    def probe(self, name: str, prompt: str, category: str, *, harmful: bool = True) -> Probe:
        return Probe(name, prompt, category, harmful, (str(self.file), self.number))


_YES_NO = {True: True, False: False, "true": True, "false": False, "1": True, "0": False}


def _advbench(row: Mapping[str, Any], cells: Cells) -> Probe:
    return cells.probe(cells.name(), cells.text("goal"), "AdvBench")


def _harmbench(row: Mapping[str, Any], cells: Cells) -> Probe | str:
    if row.get("FunctionalCategory") == "copyright":
        return "about copyright, which a comparison of hashes judges"
    behaviour, context = cells.text("Behavior"), row.get("ContextString") or ""
    prompt = f"{context}\n\n---\n\n{behaviour}" if context.strip() else behaviour
    probe = cells.probe(cells.text("BehaviorID"), prompt, cells.text("SemanticCategory"))
    return replace(probe, request=behaviour)


def _strongreject(row: Mapping[str, Any], cells: Cells) -> Probe:
    return cells.probe(cells.name(), cells.text("forbidden_prompt"), cells.text("category"))


def _ailuminate(row: Mapping[str, Any], cells: Cells) -> Probe:
    return cells.probe(
        cells.name("release_prompt_id"), cells.text("prompt_text"), cells.text("hazard")
    )


def _xstest(row: Mapping[str, Any], cells: Cells) -> Probe:
    harmful = cells.flag("label", {"unsafe": True, "safe": False})
    return cells.probe(cells.name(), cells.text("prompt"), cells.text("type"), harmful=harmful)


def _do_not_answer(row: Mapping[str, Any], cells: Cells) -> Probe:
    return cells.probe(cells.name(), cells.text("question"), cells.text("risk_area"))


def _plain(row: Mapping[str, Any], cells: Cells, column: str = "prompt") -> Probe:
    harmful = cells.flag("harmful", _YES_NO) if row.get("harmful") not in (None, "") else True
    category = row.get("category")
    return cells.probe(
        cells.name(),
        cells.text(column),
        str(category) if category not in (None, "") else "all",
        harmful=harmful,
    )


def _instruction(row: Mapping[str, Any], cells: Cells) -> Probe:
    return _plain(row, cells, "instruction")


_LAYOUTS: tuple[tuple[frozenset[str], Reading], ...] = (
    (frozenset({"Behavior", "BehaviorID", "SemanticCategory"}), _harmbench),
    (frozenset({"forbidden_prompt", "category"}), _strongreject),
    (frozenset({"prompt_text", "hazard"}), _ailuminate),
    (frozenset({"prompt", "type", "label"}), _xstest),
    (frozenset({"goal"}), _advbench),
    (frozenset({"question", "risk_area"}), _do_not_answer),
    (frozenset({"prompt"}), _plain),
)
# Instructions are those of training sets too, which have other columns beside these.
_INSTRUCTIONS = frozenset({"instruction", "category", "id", "harmful"})
_WORDS_OF_A_PROMPT = 4


def under_names(
    rows: Iterable[tuple[int, Mapping[str, Any]]], file: str | Path
) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The numbered rows; those of a CSV file of bare lines without a header as ``prompt``.

    Such a file has one cell a line, and in the first, where a column's name would be, a sentence.
    """
    for number, row in rows:
        columns = tuple(row)
        is_csv = isinstance(file, Path) and data_extension(file) == ".csv"
        if is_csv and len(columns) == 1 and len(columns[0].split()) >= _WORDS_OF_A_PROMPT:
            if number == 1:
                yield 1, {"prompt": columns[0]}
            yield number + 1, {"prompt": row[columns[0]]}
        else:
            yield number, row


def choose_layout(columns: Sequence[str], file: str | Path) -> Reading:
    """The reading that a file's columns call for. Raises InputError where none does."""
    # A byte order mark may stand before the first name.
    found = {column.removeprefix("\ufeff") for column in columns}
    for needed, read in _LAYOUTS:
        if needed <= found:
            return read
    if "instruction" in found and found <= _INSTRUCTIONS:
        return _instruction
    raise InputError(
        f"the columns {', '.join(map(repr, columns[:12]))} are of no known set of probes.",
        remedy="Name the column with the prompts 'prompt', and perhaps others 'category' and "
        "'harmful'.",
        file=file,
    )
