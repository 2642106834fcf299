"""Tables for people: nothing is cut where the terminal is narrow."""

import io

from rich.console import Console

from finebound.output import bounds_table
from theory.bound import Direction, Quantity, bound


def test_a_narrow_terminal_folds_and_cuts_nothing():
    form = "Kullback-Leibler"
    one = bound("T1", Quantity.SAFETY_GAP, Direction.UPPER, {"value gap": 1.0}, form=form)
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(bounds_table([one], title="bounds"))
    printed = console.export_text()
    assert "…" not in printed
    cells = [line.split("│")[5].strip() for line in printed.splitlines() if line.startswith("│")]
    assert "".join(cells).replace(" ", "") == f"T1({form})".replace(" ", "")
