"""What comes from files is shown on a terminal and on pages, and steers neither."""

import io
import json
import re

import pytest

from finebound.base.errors import InputError, tell
from finebound.base.records import to_json
from finebound.base.terminal import Console
from finebound.views.template import page_template

EVIL = "a\x1b]0;title\x07b\x1b[2Jc\x9b31md\u202ee\x00\x7f"
SHOWN = "abcde"


def has_controls(text: str) -> bool:
    return any(
        (ord(c) < 32 and c not in "\n\t") or 127 <= ord(c) < 160 or "\u202a" <= c <= "\u202e"
        for c in text
    )


def test_an_error_is_one_line_whatever_the_file_is_called():
    error = InputError(f"{EVIL}\nis wrong.", remedy=f"Mend {EVIL}.", file=f"/tmp/{EVIL}")
    assert str(error) == f"/tmp/{SHOWN}: {SHOWN} is wrong. Mend {SHOWN}."


def test_a_word_on_stderr_is_said_once_and_steers_nothing(capsys):
    tell(f"the run {EVIL} is made again", once=True)
    tell(f"the run {EVIL} is made again", once=True)
    assert capsys.readouterr().err == f"the run {SHOWN} is made again\n"


@pytest.mark.parametrize("colours", [None, "standard"])
def test_a_table_keeps_its_colours_and_no_others(colours):
    from rich.table import Table

    stream = io.StringIO()
    console = Console(file=stream, force_terminal=colours is not None, color_system=colours)
    table = Table(title=EVIL)
    table.add_column(EVIL, style="red")
    table.add_row(EVIL)
    console.print(table)
    console.print(EVIL, markup=False)
    text = stream.getvalue()
    assert ("\x1b[31m" in text) == (colours is not None)
    # Rich's own sequences apart, which begin and end its styles:
    assert not has_controls(re.sub(r"\x1b\[[0-9;]*m", "", text))
    assert "\x9b" not in text
    assert colours or "\x1b" not in text


def test_a_page_shows_no_controls():
    page = page_template("run.html.j2")
    text = page.environment.from_string("<p>{{ evil }}</p>\n").render(evil=EVIL)
    assert text == f"<p>{SHOWN}</p>"


def test_json_says_what_was_there_and_steers_nothing():
    value = {"unit": EVIL, "half": "\ud800"}
    text = to_json(value)
    assert not has_controls(text)
    assert json.loads(text) == value
    text.encode()
