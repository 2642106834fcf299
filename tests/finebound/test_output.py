"""Tables for people: nothing is cut where the terminal is narrow."""

import io

from rich.console import Console

from finebound.base.output import printable
from finebound.results.bounds import BoundsResult
from finebound.views.bounds import table
from theory.bound import Direction, Quantity, bound


def test_a_narrow_terminal_folds_and_cuts_nothing():
    form = "Kullback-Leibler"
    one = bound("T1", Quantity.SAFETY_GAP, Direction.UPPER, {"value gap": 1.0}, form=form)
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(table(BoundsResult.of_theory([one], None)).rich())
    printed = console.export_text()
    assert "…" not in printed
    # The words of a folded cell come in order, whatever stands in the lines' other cells.
    for part in ("T1", "Kullback", "Leibler"):
        assert part in printed


def test_a_text_from_a_file_steers_no_terminal():
    assert printable("red \x1b[31mtext\x1b[0m, \x1b]0;a title\x07gone\x9b2J") == "red text, gone"
    assert printable("over\rwritten\x08\x00 \u202egnol") == "overwritten gnol"
    assert printable("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\") == "link"
    # What is not ended hides nothing.
    assert printable("before \x1b]0;after") == "before 0;after"
    assert printable("half \ud800 pair").encode() == "half \ufffd pair".encode()
    plain = "Żółw\tund\nमेरा 👩‍👧"
    assert printable(plain) == plain
