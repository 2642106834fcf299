"""``--write-config`` of ``finebound estimate`` and ``finebound calibrate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from finebound.base.errors import InputError
from finebound.cli.options import say

if TYPE_CHECKING:
    from finebound.results.choice import ChoiceResult
    from finebound.results.estimate import EstimateResult


def require_forecast(training: str | None, to: Path, *, has_forecast: bool = True) -> None:
    """Raises InputError, before any work, where no option can be written to this place."""
    from llm_validation.estimation.write_config import require_place

    if not has_forecast:
        raise InputError(
            "--write-config writes an option of a forecast, which --safety has only with --budget.",
            remedy="Give --budget refusal=5, or leave --safety out.",
        )
    require_place(training, to)


def write(found: EstimateResult, choice: ChoiceResult, to: Path) -> None:
    """Write the chosen option, and tell on stderr what was written and what is left to do."""
    from finebound.base.progress import bar
    from llm_validation.estimation.write_config import write_config

    with bar() as progress:
        written = write_config(found, choice, to, progress=progress)
    say(written.notes)
    if written.files:
        say([f"Written: {', '.join(map(str, written.files))}"])
