"""Context overlap by identical prompts."""

from __future__ import annotations

from llm_validation.measure.overlap_measure import Errs, OverlapMeasure, estimated_overlap
from llm_validation.measure.texts import TextPair


def exact_match(pair: TextPair) -> OverlapMeasure:
    """Overlap of the two empirical distributions over normalised prompts."""
    return estimated_overlap(
        "exact match",
        *pair.counts(),
        errs=Errs.NEVER_TOO_LARGE,
        why=(
            "Two finite samples share fewer identical prompts than their sources do (on average, "
            "by concavity of the minimum), so overlap is missed and not invented."
        ),
    )
