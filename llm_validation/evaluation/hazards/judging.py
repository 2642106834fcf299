"""What became of every probe: by a detector alone, or by a judge model beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from llm_validation.evaluation.asking import verdicts
from llm_validation.evaluation.hazards.probes import ProbeSet
from llm_validation.evaluation.hazards.scores import Judged, by_verdict, judge
from llm_validation.evaluation.refusal.detectors import DETECTORS

if TYPE_CHECKING:
    from llm_validation.evaluation.registry import Work


def judged(
    probes: ProbeSet,
    answers: Sequence[str | None],
    work: Work,
    *,
    detector: str,
    by: str | None = None,
    model: str | None = None,
    cache: Path | None = None,
) -> list[Judged]:
    """The outcome of every probe from its answer (None: failed).

    ``by`` names the format of a judge, ``model`` and ``cache`` are those of ``asking.verdicts``;
    without one the detector decides. Raises InputError for a judge that is not known.
    """
    detect = DETECTORS[detector]
    if by is None:
        return judge(probes, answers, detect)
    pairs = list(zip(probes.prompts, answers, strict=True))
    found = verdicts(by, pairs, work, model=model, cache=cache)
    return [
        by_verdict(detect(*pair), safe=verdict.safe, refused=verdict.refusal)
        for pair, verdict in zip(pairs, found, strict=True)
    ]
