"""The models before and after the alignment, for the runs whose strategy needs them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from finebound.base.progress import Progress, silent
from llm_validation.experiments.config import RunConfig
from llm_validation.experiments.prepare import Prepared
from llm_validation.models.loading import source_folder
from llm_validation.training.terms import AlignmentPair


@contextmanager
def alignment_pair(
    run: RunConfig, prepared: Prepared, *, progress: Progress = silent
) -> Iterator[AlignmentPair | None]:
    """The open pair; None for a run that needs none.

    Raises InputError where the model that was aligned is not to be had or its weights cannot be
    compared with theta_s's.
    """
    if not run.plan.needs_alignment:
        yield None
        return
    from llm_validation.defences.alignment import open_alignment
    from llm_validation.defences.asft import OpenPair

    base = source_folder(prepared.experiment.model, progress=progress)
    with open_alignment(base, prepared.aligned) as alignment:
        yield OpenPair(alignment)
