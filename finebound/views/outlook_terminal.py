"""The answer of an estimate on a terminal: 25 lines of 80 columns."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import wrap
from typing import TYPE_CHECKING

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from finebound.base.text import printable
from finebound.results.budget import DECISION_WORDS
from finebound.results.estimate import EstimateResult
from finebound.results.outlook import BehaviourForecast, Option, ShareForecast
from finebound.views.outlook_words import (
    NO_BUDGET,
    budget_words,
    loss_within,
    no_forecast,
    percent,
    percent_within,
    plain,
    promise_words,
    what_intervals_are,
)

if TYPE_CHECKING:
    from rich.console import Console

LINES, COLUMNS = 25, 80
_VERDICT_LINES, _AUDIT_LINES, _AUDIT_SENTENCES = 6, 3, 2
_HOW = 40


def print_outlook(result: EstimateResult, console: Console) -> None:
    """The verdict, the numbers before and after, budgets, options, the audit, what it cost.

    At most 25 lines of 80 columns. Options that find no room are counted.
    """
    head = wrapped(result.verdict.sentence, _VERDICT_LINES) if result.verdict else []
    numbers = [no_forecast(result)] if result.forecast is None else list(_numbers(result.forecast))
    budgets = [
        _cut(f"Budget {DECISION_WORDS[one.decision]}: {budget_words(one)}")
        for one in result.budgets
    ]
    if result.options and not budgets:
        budgets = [f"Budget: {NO_BUDGET}"]
    found = " ".join(one.sentence for one in result.audit.sentences[:_AUDIT_SENTENCES])
    last = wrapped(f"Audit: {found}", _AUDIT_LINES) if found else []
    if result.forecast is not None:
        last += wrapped(what_intervals_are(result.forecast), 3)
        last += wrapped(promise_words(result.forecast), 2)
    # Three empty lines part the four blocks.
    room = LINES - 3 - len(head) - len(numbers) - len(budgets) - len(last)
    options = list(option_lines(result.options, room))
    bold = {*head, *numbers[:1], *options[:2]}
    blocks = [block for block in (head, numbers, [*budgets, *options], last) if block]
    for number, block in enumerate(blocks):
        for line in [""] * bool(number) + block:
            style = "bold" if line in bold else None
            console.print(line, style=style, markup=False, highlight=False, soft_wrap=True)


def _numbers(forecast: BehaviourForecast) -> Iterator[str]:
    yield _columns("", "now", "after the fine-tune", "greedy answers")
    for name, share in (
        ("refuses harmful probes", forecast.refusal),
        ("refuses harmless look-alikes", forecast.over_refusal),
    ):
        after = percent_within(share.after, share.interval)
        yield _columns(name, percent(share.before), after, _greedy(share))
    for name, change in (
        ("change in safety loss (nats/token)", forecast.safety_loss_change),
        ("capability gain (nats/token)", forecast.capability_gain),
    ):
        yield _columns(name, "", loss_within(change.value, change.interval), "")


def _greedy(share: ShareForecast) -> str:
    if share.greedy_before is None and share.greedy_after is None:
        return "not asked"
    return f"{percent(share.greedy_before)} -> {percent(share.greedy_after)}"


def _columns(name: str, now: str, after: str, greedy: str) -> str:
    return f"{name:34} {now:>5}  {after:21}  {greedy}".rstrip()


def option_lines(options: tuple[Option, ...], room: int) -> Iterator[str]:
    """Two lines of titles, then the options that ``room`` has lines for; others are counted."""
    if not options:
        return
    yield f"{'':{_HOW}} {'harmful':13} {'gain':>5} {'look-':>6}"
    yield f"{'Options, best first':{_HOW}} {'refused':13} {'kept':>5} {'alikes':>6}  budget"
    room -= 2
    shown = options if len(options) <= room else options[: max(1, room - 1)]
    for one in shown:
        refusals = percent_within(one.refusal, one.interval)
        kept, over = percent(one.kept), percent(one.over_refusal)
        how = set_cell_size(_cut(one.how, _HOW), _HOW)
        yield f"{how} {refusals:13} {kept:>5} {over:>6}  {DECISION_WORDS[one.within_budget]}"
    if len(shown) < len(options):
        yield f"and {len(options) - len(shown)} more, on the page"


def _cut(text: str, width: int = COLUMNS) -> str:
    """The text in one line of at most ``width`` columns."""
    line = Text(plain(text, width))
    line.truncate(width, overflow="ellipsis")
    return line.plain


def wrapped(text: str, most: int) -> list[str]:
    """The text in lines of a terminal, the last of ``most`` cut after a word."""
    plain = " ".join(printable(text).split())
    # A wide character fills two columns.
    columns = COLUMNS if cell_len(plain) == len(plain) else COLUMNS // 2
    return wrap(plain, columns, max_lines=most, placeholder=" …")
