"""``finebound report``: one page about one finished run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from finebound.cli.options import parse


@dataclass(frozen=True)
class Options:
    """One page about a finished run: curves, bounds beside measurements, gates, settings.

    Example: finebound report smoke-out/runs/general_none_lora_s0
    """

    run: Positional[Path]
    """The run's folder: OUT/runs/ID of `finebound validate`."""
    out: Path | None = None
    """Folder for report.html (default: the run's own)."""


def main(arguments: Sequence[str]) -> int:
    options = parse(Options, arguments, verb="report")
    from finebound.records import write_atomically
    from llm_validation.experiments.run_page import run_page

    html = run_page(options.run)
    written = write_atomically((options.out or options.run) / "report.html", html)
    print(f"Written: {written}")
    return 0
