"""From the paper's records to files: every figure as PNG and PDF, and their captions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from finebound.views.figure_files import Drawn, draw_all
from paper_figures.records import read_record
from paper_figures.registry import figure_module, figure_names


def draw_figures(names: Sequence[str], out: Path) -> list[Drawn]:
    """Draw ``names`` from their records into ``out``, all of them or none, with captions.md.

    The captions also cover the figures that ``out`` holds from before. Raises InputError when a
    record is missing or ``out`` cannot be written.
    """
    records = {name: read_record(name) for name in names}
    kept = [n for n in figure_names() if n not in records and (out / f"{n}.png").exists()]
    others = {name: read_record(name) for name in kept}
    captioned = records | others
    modules = {name: figure_module(name) for name in captioned}
    return draw_all(modules, records, captioned, out, "the committed records")
