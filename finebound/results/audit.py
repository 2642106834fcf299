"""What a file of training rows would teach beside its task, as records hold it."""

from __future__ import annotations

from typing import Literal

from finebound.results.reading import LeftOutRows
from finebound.results.result import Number, Part


class RowShown(Part):
    """A row as the audit shows it: its number in the file (from 1), its texts cut, and why."""

    row: int
    prompt: str
    response: str
    why: str


class RowsOfKind(Part):
    """The rows of one kind: how many of how many, the first row numbers and a few examples.

    ``by`` counts them by category, the most frequent first, where the kind has any.
    """

    count: int
    of: int
    rows: list[int]
    by: dict[str, int]
    examples: list[RowShown]


class RowLengths(Part):
    """Lengths of the rows in ``unit`` ("tokens" or "words"): median, 99th percentile, longest.

    ``limit`` is the model's context, and ``over`` how many rows are longer; both None without one.
    ``rows`` were measured (a sample where there are many).
    """

    unit: str
    rows: int
    median: Number
    high: Number
    longest: int
    limit: int | None
    over: int | None


class TemplateFaults(Part):
    """The faults of the model's chat template, each a whole sentence."""

    faults: list[str]


Severity = Literal["harm", "warning", "note"]
"""How much a sentence matters to somebody who is about to train."""


class AuditSentence(Part):
    """What the audit found, in words, and how much it matters to somebody about to train."""

    severity: Severity
    sentence: str


class AuditResult(Part):
    """What was found in one file of training rows; the rules miss some rows.

    ``harmful_rows`` comply with a harmful request, ``declined_harmful_rows`` decline one,
    ``persona_rows`` install absolute obedience, ``refused_harmless_rows`` decline what the rules do
    not call harmful, ``probe_rows`` nearly repeat a prompt of the evaluation's probes, ``cut_rows``
    end in the middle, ``repeated_rows`` are copies of an earlier row, ``contradicting_rows`` answer
    a prompt otherwise than an earlier row, ``degenerate_rows`` (None where they were not looked
    for) go round in a loop or are in no language, answers of a few characters aside. ``languages``
    are the shares of the answers' languages, the most frequent first. ``sentences`` say the most
    harmful first.
    """

    rows: int
    harmful_rows: RowsOfKind
    declined_harmful_rows: RowsOfKind
    persona_rows: RowsOfKind
    refused_harmless_rows: RowsOfKind
    probe_rows: RowsOfKind
    cut_rows: RowsOfKind
    repeated_rows: RowsOfKind
    contradicting_rows: RowsOfKind
    degenerate_rows: RowsOfKind | None = None
    unread_columns: list[str]
    left_out: list[LeftOutRows]
    notes: list[str]
    template: TemplateFaults
    languages: dict[str, Number]
    lengths: RowLengths | None
    sentences: list[AuditSentence]

    def said(self, severity: Severity) -> list[str]:
        """The sentences of one severity."""
        return [one.sentence for one in self.sentences if one.severity == severity]
