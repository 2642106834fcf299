"""The certificate of answer files: read, met, tested."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from finebound.base.errors import InputError
from finebound.base.progress import Progress, silent
from finebound.base.records import file_sha256, manifest
from finebound.results.certificate import CertificateResult
from finebound.results.result import Manifest
from llm_validation.certification.answers import Answered, Cache, meet, read_answers
from llm_validation.certification.budgets import ALL, Budget, require_confidence
from llm_validation.certification.judging import Judged, judge

_BY_RULES = "finebound's refusal classifier labels the answers, and was not tuned on these probes."
_BY_FILE = "The labels of the files are right, and their rule was not tuned on these probes."


def certify_files(
    reference: str | Path,
    candidates: Sequence[str | Path],
    budgets: Sequence[Budget],
    *,
    confidence: float,
    training_data: Sequence[str | Path] = (),
    given: Mapping[str, Any],
    progress: Progress = silent,
) -> CertificateResult:
    """The certificate of answers that were made elsewhere; candidates in the order of the test.

    Raises InputError for files that cannot be read, that do not meet, or of which nothing follows.
    """
    require_confidence(confidence)
    if not candidates:
        raise InputError(
            "`candidate` is missing.", remedy="Give the answers of the model after the fine-tune."
        )
    cache: Cache = {}
    paths = [Path(path) for path in (reference, *candidates)]
    read = [read_answers(path, cache=cache) for path in progress(paths, "reading answers")]
    before, *after = _named(read)
    inputs = {str(path): file_sha256(path.expanduser()) for path in paths}
    prompts = next((one.prompts for one in read if one.prompts), ())
    if training_data:
        from llm_validation.certification.training_copies import require_unseen

        inputs |= require_unseen(prompts, training_data, source=before.source, progress=progress)
    met, others = meet(before, after)
    found = judge(met, others, budgets, confidence=confidence)
    return result_of(
        found,
        budgets,
        confidence=confidence,
        reference=before.name,
        candidates=[one.name for one in after],
        path="given",
        probes=f"{len(met)} probes of {before.source}",
        assumptions=assumptions(
            labels=[
                *([_BY_RULES] if any(one.by_rules for one in read) else []),
                *([_BY_FILE] if not all(one.by_rules for one in read) else []),
            ],
            candidates=len(after),
            answers="Each file holds one answer to each probe, made in the way in which the models "
            "will be used.",
        ),
        manifest=Manifest(**manifest(given=given, inputs=inputs, seed=0)),
    )


def assumptions(*, labels: Sequence[str], candidates: int, answers: str) -> tuple[str, ...]:
    """What a certificate rests on, a sentence each."""
    found = [
        "The probes are independent draws from the requests that matter.",
        "No candidate was trained, chosen or tuned by looking at these probes or their answers.",
        answers,
        *labels,
    ]
    if candidates > 1:
        found.append("The order of the candidates was fixed before their answers were read.")
    return tuple(found)


def result_of(
    found: Judged,
    budgets: Sequence[Budget],
    *,
    manifest: Manifest,
    notes: Sequence[str] = (),
    **more: Any,
) -> CertificateResult:
    """The result of what was judged; ``more`` are its further fields."""
    (first, *others) = budgets
    shares = {budget.of: budget.share for budget in budgets}
    return CertificateResult(
        certified=found.certified,
        chosen=found.chosen,
        accepted=found.accepted,
        budget=first.share if first.of == ALL and not others else shares,
        tests=found.tests,
        status="HIGH_PROBABILITY",
        sentence=found.sentence,
        probes_needed=found.probes_needed,
        notes=(*found.notes, *notes),
        manifest=manifest,
        **more,
    )


def _named(answers: Sequence[Answered]) -> list[Answered]:
    """The answers with names of their own: a file's, or its path where two share one."""

    times = Counter(one.name for one in answers)
    found = [one if times[one.name] == 1 else replace(one, name=one.source) for one in answers]
    if len({one.name for one in found}) < len(found):
        twice = next(n for n, count in Counter(one.name for one in found).items() if count > 1)
        raise InputError(
            "the file is given twice.", remedy="Give each answers file once.", file=twice
        )
    return found
