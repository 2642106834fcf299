"""Reading the rows of a data set: examples, and the reading that says what became of the rest."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finebound.base.errors import InputError
from llm_validation.data.cells import (
    BadRowError,
    MarkedRowError,
    Row,
    UnusableRowError,
    is_missing,
    listed,
)
from llm_validation.data.columns import (
    CATEGORY,
    KNOWN_COLUMNS,
    NESTED_COLUMNS,
    PREFERENCE_COLUMNS,
    PROMPT_COLUMNS,
    RESPONSE_COLUMNS,
    TURN_COLUMNS,
)
from llm_validation.data.dataset import Example, LeftOut, Reading
from llm_validation.data.dialogues import Read
from llm_validation.data.layouts import RowLayout, choose_layout
from llm_validation.data.marks import MARK_COLUMNS, bad_by, is_binary
from llm_validation.data.turns import MEDIA
from llm_validation.data.unread import UnreadColumns, is_about

_EARLY_LOOK = 1_000
_ASKED_OR_SAID = frozenset((*PROMPT_COLUMNS, *RESPONSE_COLUMNS))
_FORMS = frozenset(
    (*TURN_COLUMNS, *PREFERENCE_COLUMNS[0], *PREFERENCE_COLUMNS[1], *NESTED_COLUMNS)
) - {"instruction"}


@dataclass(frozen=True)
class _Plan:
    """How rows with certain keys are read, and which of the ``unread`` are watched beside it.

    ``optional`` are the columns that decide the layout only in rows that fill them. ``problem`` is
    set instead of ``layout`` where the keys fit none.
    """

    layout: RowLayout | None
    marks: tuple[str, ...] = ()
    media: tuple[str, ...] = ()
    watched: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    problem: InputError | None = None

    @property
    def chosen(self) -> RowLayout:
        """``layout`` of a plan without a ``problem``."""
        assert self.layout is not None
        return self.layout


class ExampleReader:
    """Turns the rows of a data set, file after file, into ``examples``.

    Rows that their source marks as not to be learnt are left out. With ``drop_unusable`` so are
    those that cannot be read as an example, but for a damaged file; without it they are errors.
    ``ignore`` are columns to be left unread, ``known`` those of a catalogued set, of which it is
    known that no other column belongs to the prompt.
    """

    def __init__(
        self,
        *,
        drop_unusable: bool = False,
        ignore: Collection[str] = (),
        known: Collection[str] = (),
    ) -> None:
        self.examples: list[Example] = []
        self.columns: dict[str, None] = {}
        self._drop, self._ignore, self._known = drop_unusable, frozenset(ignore), frozenset(known)
        self._plans: dict[tuple[str, ...], _Plan] = {}
        self._names: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._first: _Plan | None = None
        self._last: _Plan | None = None
        self._used: set[str] = set()
        self._used_marks: set[str] = set()
        self._labels: dict[str, tuple[str, int] | None] = {}
        self._watch = UnreadColumns()
        self._problem: InputError | None = None
        self._unread: dict[str, None] = {}
        self._left_out: dict[tuple[str, str], list[int]] = {}
        self._joined: Counter[tuple[str | None, tuple[str, ...]]] = Counter()
        self._files: list[str] = []
        self._rows = self._several = self._unlearnt = self._cut = 0

    def read(self, rows: Iterable[tuple[int, Row]], *, file: str | Path) -> None:
        """Read the numbered rows (1-based) of one file. Raises InputError naming file and row."""
        name, start = str(file), self._rows
        self._files.append(name)
        unusable: Counter[str] = Counter()
        first: tuple[int, str] | None = None
        problem: InputError | None = None
        looked = False
        for number, row in rows:
            self._rows += 1
            if self._ignore:
                row = self._without_ignored(row)
            if (named := self._plainly_named(row)) is not row:
                row = self._without_ignored(named)
            try:
                plan = self._plan_of(row, file)
                read = self._read_row(row, (name, number), plan)
            except MarkedRowError as mark:
                self._leave_out(mark.what, name, number)
                continue
            except UnusableRowError as bad:
                unusable[bad.what] += 1
                self._leave_out(bad.what, name, number)
                first = first or (number, bad.what)
                continue
            except (BadRowError, InputError) as bad:
                # Columns that fit no layout are the file's fault, unless another row's did fit.
                place = None if isinstance(bad, InputError) and self._first is None else number
                if not self._drop:
                    raise InputError(bad.what, remedy=bad.remedy, file=file, row=place) from None
                problem = problem or InputError(bad.what, remedy=bad.remedy, file=file, row=place)
                self._leave_out(_in_general(bad.what), name, number)
                continue
            self.examples += read.examples
            self._take_note(row, read, plan, (name, number))
            if not looked and self._rows >= _EARLY_LOOK:
                self._watch.refuse()
                looked = True
        total = self._rows - start
        if not total:
            raise InputError(
                "the file holds no rows.", remedy="Add rows, or name another file.", file=file
            )
        if first is not None:
            number, what = first
            problem = InputError(
                f"{what}; {_how_many(unusable, what, total)}.",
                remedy="Fill it in or remove the row: an empty or ambiguous answer has no loss.",
                file=file,
                row=number,
            )
        if problem is not None and not self._drop:
            raise problem
        self._problem = self._problem or problem

    def reading(self) -> Reading:
        """How all rows were read.

        Raises InputError for columns that look like unread text of the prompt, for a label that may
        or may not be a mark, and where every row is left out.
        """
        self._watch.refuse()
        if self._problem is not None and not self.examples:
            raise self._problem
        for column, place in self._labels.items():
            if place is not None and column not in self._used_marks:
                raise InputError(
                    f"the column {column!r} holds 0 and 1 alone: it cannot be told whether a 0 "
                    "marks an answer that is not to be learnt.",
                    remedy="If it does, write true and false; if not, leave the column out with "
                    f"`ignore_columns` {column}.",
                    file=place[0],
                    row=place[1],
                )
        left_out = tuple(
            LeftOut(self._reason(what, file), tuple(numbers))
            for (what, file), numbers in self._left_out.items()
        )
        if not self.examples:
            reasons = "; ".join(part.reason for part in left_out)
            raise InputError(
                f"every one of the {self._rows} rows is marked as not to be learnt ({reasons}).",
                remedy="Name a file with rows to learn, or leave the mark's column out with "
                "`ignore_columns`.",
                file=self._files[0],
            )
        unread = [
            name
            for name in self._unread
            if name not in self._used_marks and (name not in self._used or self._watch.holds(name))
        ]
        unread += [name for name in self.columns if name in self._ignore]
        return Reading(left_out, tuple(dict.fromkeys(unread)), tuple(self._notes(left_out)))

    def _notes(self, left_out: tuple[LeftOut, ...]) -> Iterable[str]:
        total = len(self.examples)
        for (prompt, columns), count in self._joined.items():
            where = _of(count, total)
            yield f"The prompt is {prompt!r} with {listed(columns)} below it in {where}."
        if self._several:
            yield (
                f"In {_of(self._several, total)} there are several assistant turns: the text "
                "measures read the last one as the answer, with all turns before it as its prompt."
            )
        if self._unlearnt:
            yield (
                f"In {_of(self._unlearnt, total)} earlier assistant turns are context, not learnt: "
                "their mark, or their column, says so."
            )
        if self._cut:
            yield (
                f"In {_of(self._cut, total)} what follows the last assistant turn to be learnt "
                "is left away."
            )
        yield from self._watch.notes()

    # One row --------------------------------------------------------------------------------------

    def _read_row(self, row: Row, origin: tuple[str, int], plan: _Plan) -> Read:
        for column in plan.marks:
            value = row[column]
            bad = bad_by(column, value)
            if bad is None:
                self._take_label(column, value, origin)
                continue
            self._used_marks.add(column)
            if bad:
                raise MarkedRowError(f"{column!r} marks the answer as not to be learnt")
        for column in plan.media:
            if not is_missing(row[column]):
                raise BadRowError(
                    f"the row has {column!r}, which cannot be learnt from: only texts can.",
                    f"Leave out such rows, or the column with `ignore_columns` {column}.",
                )
        return plan.chosen.read(row, origin)

    def _take_label(self, column: str, value: Any, origin: tuple[str, int]) -> None:
        """Watch for a label of zeros and ones: where it first is not 1, None where it is more."""
        if column != "label" or is_missing(value):
            return
        if not is_binary(value):
            self._labels[column] = None
        elif float(value) != 1:
            self._labels.setdefault(column, origin)

    def _take_note(self, row: Row, read: Read, plan: _Plan, origin: tuple[str, int]) -> None:
        example = read.examples[0]
        for column in plan.watched:
            self._watch.see(column, row[column], origin, example)
        for column, value in read.unread:
            if column not in self._ignore:
                self._watch.see(column, value, origin, example)
            if column not in self.columns:
                self.columns[column] = self._unread[column] = None
        if read.joined:
            self._joined[plan.chosen.prompt, read.joined] += 1
        self._cut += read.cut
        for example in read.examples:
            self._unlearnt += bool(example.unlearnt)
            if len(example.messages) > 1:
                self._several += any(role == "assistant" for role, _ in example.messages)

    def _without_ignored(self, row: Row) -> Row:
        for name in row:
            if name in self._ignore:
                self.columns[name] = None
        return {name: value for name, value in row.items() if name not in self._ignore}

    def _plainly_named(self, row: Row) -> Row:
        """The row with the names of known columns as they are known: "Question" is "question"."""
        keys = tuple(row)
        names = self._names.get(keys)
        if names is None:
            names = self._names[keys] = _plain_names(keys)
        return dict(zip(names, row.values(), strict=True)) if names else row

    def _leave_out(self, what: str, file: str, number: int) -> None:
        self._left_out.setdefault((what, file), []).append(number)

    def _reason(self, what: str, file: str) -> str:
        return what if len(self._files) == 1 else f"{what} ({Path(file).name})"

    # Layouts --------------------------------------------------------------------------------------

    def _plan_of(self, row: Row, file: str | Path) -> _Plan:
        plan = self._plan(tuple(row), file)
        if plan.optional:
            empty = {name for name in plan.optional if is_missing(row[name])}
            if empty:
                left = tuple(name for name in row if name not in empty)
                narrow = self._plan(left, file)
                filled = narrow.problem is None or any(name in _ASKED_OR_SAID for name in left)
                if filled or plan.problem is not None:
                    plan = narrow
        if plan.problem is not None:
            raise plan.problem
        if self._first is None:
            self._first = plan
        if plan is not self._last:
            self._unread.update(dict.fromkeys(plan.unread))
            self._used |= plan.chosen.used
            self._last = plan
        return plan

    def _plan(self, keys: tuple[str, ...], file: str | Path) -> _Plan:
        plan = self._plans.get(keys)
        if plan is None:
            plan = self._plans[keys] = self._made_plan(keys, file)
        return plan

    def _made_plan(self, keys: tuple[str, ...], file: str | Path) -> _Plan:
        self.columns.update(dict.fromkeys(keys))
        optional = _optional(keys)
        try:
            layout = choose_layout(keys, file=file)
        except InputError as problem:
            return _Plan(None, optional=optional, problem=self._by_first(keys, problem))
        marks = tuple(name for name in keys if layout.marks and name in MARK_COLUMNS)
        unread = [name for name in keys if name not in layout.used or name == CATEGORY]
        media = tuple(name for name in unread if name in MEDIA and name not in self._known)
        watched = (
            name
            for name in unread
            if name not in marks
            and name not in media
            and name not in self._known
            and name not in layout.beside
            and not is_about(name)
        )
        return _Plan(layout, marks, media, tuple(watched), tuple(unread), optional)

    def _by_first(self, keys: tuple[str, ...], problem: InputError) -> InputError:
        """A later row's problem, in the words of the first row's columns where one is missing."""
        if self._first is None:
            return problem
        missing = [name for name in self._first.chosen.needed if name not in keys]
        if not missing:
            return problem
        return InputError(
            f"this row has no {missing[0]!r}.",
            remedy="Give every row the same columns, or those of another layout in whole.",
        )


def _optional(keys: tuple[str, ...]) -> tuple[str, ...]:
    """The columns whose layout counts only in rows that fill them: a table of several layouts."""
    found = [name for name in keys if name in _FORMS]
    for names in (PROMPT_COLUMNS, RESPONSE_COLUMNS):
        some = [name for name in keys if name in names]
        if len(some) > 1 and names[0] not in some:
            found += some
    return tuple(found)


def _plain_names(keys: tuple[str, ...]) -> tuple[str, ...]:
    """Each key, or the known column that it spells otherwise; empty where all are as they are."""
    found = set(keys)
    names = []
    for key in keys:
        plain = "_".join(key.strip().lower().split())
        known = plain != key and plain in KNOWN_COLUMNS | MARK_COLUMNS and plain not in found
        names.append(plain if known else key)
        found.add(names[-1])
    return () if tuple(names) == keys else tuple(names)


def _in_general(what: str) -> str:
    """A problem without what differs from row to row."""
    what = re.sub(r"\bturn \d+\b", "a turn", what)
    return re.sub(r" \([^()]*\)", "", what).rstrip(".")


def _of(count: int, total: int) -> str:
    return f"{count} of {total} rows" if total > 1 else "the only row"


def _how_many(unusable: Counter[str], what: str, total: int) -> str:
    if unusable[what] == total:
        return "this is so in the only row" if total == 1 else f"this is so in all {total} rows"
    same = f"this is so in {unusable[what]} of {total} rows"
    other = unusable.total() - unusable[what]
    return same + (f", and {other} more cannot be used for other reasons" if other else "")
