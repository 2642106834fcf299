"""A chosen option on a terminal: lines of 80 columns."""

from __future__ import annotations

from textwrap import wrap
from typing import TYPE_CHECKING

from rich.cells import cell_len

from finebound.base.text import printable
from finebound.results.choice import ChoiceResult
from finebound.views.outlook_terminal import COLUMNS, option_lines, wrapped

if TYPE_CHECKING:
    from rich.console import Console

_MOST_LINES = 6


def print_choice(result: ChoiceResult, console: Console) -> None:
    """The choice, every option, what is sure and what is proved, and how to apply it.

    Lines have at most 80 columns; a word that is longer, such as a path, is not broken in a step.
    """
    steps = [line for step in result.apply for line in _step(step)]
    blocks = [
        wrapped(result.sentence, _MOST_LINES),
        list(option_lines(result.options, len(result.options) + 2)),
        [
            *wrapped(result.guarantee, _MOST_LINES),
            *wrapped(result.certified_in_words, _MOST_LINES),
        ],
        ["To apply it:", *steps] if steps else [],
    ]
    for number, block in enumerate(filter(None, blocks)):
        for line in [""] * bool(number) + block:
            style = "bold" if not number or line == "To apply it:" else None
            console.print(line, style=style, markup=False, highlight=False, soft_wrap=True)


def _step(text: str) -> list[str]:
    plain = " ".join(printable(text).split())
    # A wide character fills two columns.
    columns = COLUMNS if cell_len(plain) == len(plain) else COLUMNS // 2
    lines = wrap(plain, columns - 2, break_on_hyphens=False, break_long_words=False)
    return [f"{'  ' if number else '- '}{line}" for number, line in enumerate(lines)]
