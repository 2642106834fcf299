"""An audit in words: what would hurt first, each sentence with its count, its rows and a remedy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from finebound.results.audit import (
    AuditResult,
    AuditSentence,
    RowLengths,
    RowsOfKind,
    Severity,
    TemplateFaults,
)
from llm_validation.evaluation.refusal.languages import ENGLISH

NOT_TOLD = "not told"
"""What stands for the language of an answer that is too short, or code, or a number."""
_FIRST_ROWS = 8
_MOST_LANGUAGES = 4


def sentences(audit: AuditResult, *, role: str = "task") -> list[AuditSentence]:
    """What the audit found, the most harmful first; nothing is said of what was not found.

    One sentence is always there: what the rules saw of harmful requests, and that they miss some.
    """
    parts = (_on_harm, _on_refusals, _on_quality, _on_form)
    return [
        AuditSentence(severity=severity, sentence=words)
        for part in parts
        for severity, words in part(audit, role)
    ]


def with_the_models_word(
    audit: AuditResult, *, notes: Sequence[str], faults: Sequence[str], lengths: RowLengths | None
) -> AuditResult:
    """The audit with what a model's tokenizer and chat template make of the rows, in words too.

    ``notes`` are on how they were encoded, ``faults`` those of the template.
    """
    told = {
        "notes": [*audit.notes, *notes],
        "template": TemplateFaults(faults=list(faults)),
        "lengths": lengths,
    }
    found = audit.model_copy(update=told)
    return found.model_copy(update={"sentences": sentences(found)})


def _on_harm(audit: AuditResult, role: str) -> Iterator[tuple[Severity, str]]:
    harmful, persona = audit.harmful_rows, audit.persona_rows
    if harmful.count:
        kinds = ", ".join(f"{count} {name}" for name, count in list(harmful.by.items())[:3])
        yield (
            "harm",
            f"{_at_least(harmful, role)} {_comply(harmful.count)} with harmful requests ({kinds}; "
            f"{_rows(harmful)}). Training on them teaches the model to comply: remove them, or "
            "give them refusals.",
        )
    if persona.count:
        yield (
            "harm",
            f"{_of(persona, role)} {_verb(persona.count, 'installs', 'install')} another persona "
            f"or absolute obedience ({_rows(persona)}). Such rows end refusals although no single "
            "one is harmful: remove them.",
        )
    if not harmful.count:
        yield (
            "note",
            f"The rules saw no {role} row that complies with a harmful request. They miss some "
            "requests, and harmless rows can cost safety too.",
        )


def _on_refusals(audit: AuditResult, role: str) -> Iterator[tuple[Severity, str]]:
    refused, declined = audit.refused_harmless_rows, audit.declined_harmful_rows
    if refused.count:
        yield (
            "warning",
            f"{_of(refused, role)} {_verb(refused.count, 'declines', 'decline')} a request that "
            f"the rules do not call harmful ({_rows(refused)}). If it is harmless, the model "
            "learns over-refusal from it.",
        )
    if declined.count:
        yield (
            "note",
            f"{_of(declined, role)} {_verb(declined.count, 'declines', 'decline')} a harmful "
            f"request ({_rows(declined)}): {_verb(declined.count, 'it acts', 'they act')} as "
            "safety data.",
        )


def _on_quality(audit: AuditResult, role: str) -> Iterator[tuple[Severity, str]]:
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
        if found is not None and found.count:
            if found.count == 1:
                words = _singular(words)
            yield "warning", f"{_of(found, role)} {words} ({_rows(found)}). {remedy}"
    for left in audit.left_out:
        yield (
            "warning",
            f"{left.count} {role} {_verb(left.count, 'row was', 'rows were')} left out: "
            f"{left.reason} ({_numbers(left.rows, left.count)}).",
        )


def _on_form(audit: AuditResult, role: str) -> Iterator[tuple[Severity, str]]:
    for fault in audit.template.faults:
        yield "warning", fault
    lengths = audit.lengths
    if lengths is not None and lengths.over:
        yield (
            "warning",
            f"{lengths.over} of {lengths.rows} {role} rows have more than {lengths.limit} tokens, "
            "the most that is read: they are left out or cut. Shorten them to keep them whole.",
        )
    if audit.unread_columns:
        names = ", ".join(audit.unread_columns)
        yield "note", f"Columns of the {role} file that are in no row: {names}."
    for note in audit.notes:
        yield "note", note
    told = [name for name in audit.languages if name != NOT_TOLD]
    if len(told) > 1 or told[:1] not in ([], [ENGLISH]):
        most = list(audit.languages.items())[:_MOST_LANGUAGES]
        shares = ", ".join(f"{name} {share:.0%}" for name, share in most)
        yield "note", f"Languages of the {role} answers: {shares}."


def _of(found: RowsOfKind, role: str) -> str:
    if found.count == found.of > 1:
        return f"All {found.of} {role} rows"
    return f"{found.count} of {found.of} {role} rows"


def _at_least(found: RowsOfKind, role: str) -> str:
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


def _rows(found: RowsOfKind) -> str:
    return _numbers(found.rows, found.count)


def _numbers(rows: Sequence[int], count: int) -> str:
    shown = [str(row) for row in rows[:_FIRST_ROWS]]
    more = count - len(shown)
    return f"row{'' if count == 1 else 's'} {', '.join(shown)}" + (
        f" and {more} more" if more > 0 else ""
    )
