"""An audit in words: what would hurt first, each sentence with its count, its rows and a remedy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from enum import StrEnum

from finebound.results.audit import (
    AuditResult,
    AuditSentence,
    RowLengths,
    RowShown,
    RowsOfKind,
    TemplateFaults,
)
from finebound.results.reading import LeftOutRows
from llm_validation.audit.audit import KINDS, MOST_ROWS, NOT_TOLD, Audit, RowsFound
from llm_validation.evaluation.refusal.languages import ENGLISH

_FIRST_ROWS = 8
_MOST_LANGUAGES = 4


class Severity(StrEnum):
    """How much a sentence of the audit matters to somebody who is about to train."""

    HARM = "harm"
    WARNING = "warning"
    NOTE = "note"


def sentences(audit: Audit, *, role: str = "task") -> list[tuple[Severity, str]]:
    """What the audit found, the most harmful first; nothing is said of what was not found.

    One sentence is always there: what the rules saw of harmful requests, and that they miss some.
    """
    return [
        *_on_harm(audit, role),
        *_on_refusals(audit, role),
        *_on_quality(audit, role),
        *_on_form(audit, role),
    ]


def audit_result(audit: Audit) -> AuditResult:
    """The audit as records hold it: each kind with count, of, first rows and examples."""
    return AuditResult(
        rows=audit.rows,
        **{kind: _rows_of_kind(getattr(audit, kind)) for kind in KINDS},
        unread_columns=list(audit.reading.unread_columns),
        left_out=[
            LeftOutRows(reason=left.reason, count=len(left.rows), rows=list(left.rows[:MOST_ROWS]))
            for left in audit.reading.left_out
        ],
        notes=list(audit.reading.notes),
        template=TemplateFaults(faults=list(audit.template)),
        languages=dict(audit.languages),
        lengths=None if audit.lengths is None else RowLengths(**asdict(audit.lengths)),
        sentences=[
            AuditSentence(severity=s.value, sentence=words) for s, words in sentences(audit)
        ],
    )


def _rows_of_kind(found: RowsFound) -> RowsOfKind:
    return RowsOfKind(
        count=found.count,
        of=found.of,
        rows=list(found.rows),
        by=dict(found.by),
        examples=[RowShown(**asdict(example)) for example in found.examples],
    )


def _on_harm(audit: Audit, role: str) -> Iterator[tuple[Severity, str]]:
    harmful, persona = audit.harmful_rows, audit.persona_rows
    if harmful.count:
        kinds = ", ".join(f"{count} {name}" for name, count in harmful.by[:3])
        yield (
            Severity.HARM,
            f"{_at_least(harmful, role)} {_comply(harmful.count)} with harmful requests ({kinds}; "
            f"{_rows(harmful)}). Training on them teaches the model to comply: remove them, or "
            "give them refusals.",
        )
    if persona.count:
        yield (
            Severity.HARM,
            f"{_of(persona, role)} {_verb(persona.count, 'installs', 'install')} another persona "
            f"or absolute obedience ({_rows(persona)}). Such rows end refusals although no single "
            "one is harmful: remove them.",
        )
    if not harmful.count:
        yield (
            Severity.NOTE,
            f"The rules saw no {role} row that complies with a harmful request. They miss some "
            "requests, and harmless rows can cost safety too.",
        )


def _on_refusals(audit: Audit, role: str) -> Iterator[tuple[Severity, str]]:
    refused, declined = audit.refused_harmless_rows, audit.declined_harmful_rows
    if refused.count:
        yield (
            Severity.WARNING,
            f"{_of(refused, role)} {_verb(refused.count, 'declines', 'decline')} a request that "
            f"the rules do not call harmful ({_rows(refused)}). If it is harmless, the model "
            "learns over-refusal from it.",
        )
    if declined.count:
        yield (
            Severity.NOTE,
            f"{_of(declined, role)} {_verb(declined.count, 'declines', 'decline')} a harmful "
            f"request ({_rows(declined)}): {_verb(declined.count, 'it acts', 'they act')} as "
            "safety data.",
        )


def _on_quality(audit: Audit, role: str) -> Iterator[tuple[Severity, str]]:
    for found, words, remedy in (
        (
            audit.probe_rows,
            "nearly repeat a prompt of the evaluation's probes",
            "What is measured on those probes afterwards is memory: remove the rows, or use other "
            "probes.",
        ),
        (
            audit.cut_rows,
            "end in the middle of a sentence or of a block of code",
            "The model learns to stop there.",
        ),
        (
            audit.degenerate_rows,
            "have an answer that goes round in a loop or is in no language",
            "The model learns to answer so: look at them, and remove what is no answer.",
        ),
        (
            audit.contradicting_rows,
            "answer a prompt otherwise than an earlier row does",
            "No model can give both answers.",
        ),
        (audit.repeated_rows, "are copies of an earlier row", "They count twice."),
    ):
        if found.count:
            if found.count == 1:
                words = _singular(words)
            yield Severity.WARNING, f"{_of(found, role)} {words} ({_rows(found)}). {remedy}"
    for left in audit.reading.left_out:
        count = len(left.rows)
        yield (
            Severity.WARNING,
            f"{count} {role} {_verb(count, 'row was', 'rows were')} left out: {left.reason} "
            f"({_numbers(left.rows, count)}).",
        )


def _on_form(audit: Audit, role: str) -> Iterator[tuple[Severity, str]]:
    for fault in audit.template:
        yield Severity.WARNING, fault
    lengths = audit.lengths
    if lengths is not None and lengths.over:
        yield (
            Severity.WARNING,
            f"{lengths.over} of {lengths.rows} {role} rows are longer than the model's context of "
            f"{lengths.limit} tokens; the longest has {lengths.longest}. Use --drop-long or "
            "--truncate, or shorten them.",
        )
    if audit.reading.unread_columns:
        names = ", ".join(audit.reading.unread_columns)
        yield Severity.NOTE, f"Columns of the {role} file that are in no row: {names}."
    for note in audit.reading.notes:
        yield Severity.NOTE, note
    told = [name for name, _ in audit.languages if name != NOT_TOLD]
    if len(told) > 1 or told[:1] not in ([], [ENGLISH]):
        shares = ", ".join(
            f"{name} {share:.0%}" for name, share in audit.languages[:_MOST_LANGUAGES]
        )
        yield Severity.NOTE, f"Languages of the {role} answers: {shares}."


def _of(found: RowsFound, role: str) -> str:
    if found.count == found.of > 1:
        return f"All {found.of} {role} rows"
    return f"{found.count} of {found.of} {role} rows"


def _at_least(found: RowsFound, role: str) -> str:
    """The rules miss some requests: a count that is not all is a least one."""
    said = _of(found, role)
    return said if said.startswith("All") else f"At least {said}"


def _comply(count: int) -> str:
    return _verb(count, "complies", "comply")


def _verb(count: int, one: str, many: str) -> str:
    return one if count == 1 else many


def _singular(words: str) -> str:
    first, rest = words.split(" ", 1)
    if first == "nearly":
        return f"nearly repeats {rest.split(' ', 1)[1]}"
    if first == "have":
        return f"has {rest}"
    if first == "are":
        return "is a copy of an earlier row"
    return f"{first}s {rest}"


def _rows(found: RowsFound) -> str:
    return _numbers(found.rows, found.count)


def _numbers(rows: Iterable[int], count: int) -> str:
    shown = [str(row) for row in list(rows)[:_FIRST_ROWS]]
    more = count - len(shown)
    return f"row{'' if count == 1 else 's'} {', '.join(shown)}" + (
        f" and {more} more" if more > 0 else ""
    )
