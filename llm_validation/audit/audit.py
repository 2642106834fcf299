"""What a file of training rows would teach beside its task: read row by row, before training."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from finebound.base.progress import Progress, silent
from llm_validation.audit.cut_answers import is_cut
from llm_validation.audit.harmful_requests import HarmfulRequest, harmful_request
from llm_validation.audit.personas import installs_persona
from llm_validation.audit.probe_copies import ProbeIndex
from llm_validation.audit.refusal_screen import may_refuse
from llm_validation.data.dataset import READ_WHOLE, Dataset, Example, Reading
from llm_validation.evaluation.hazards.probes import ProbeSet, builtin_hazards
from llm_validation.evaluation.refusal.classifier import classify, says_nothing
from llm_validation.evaluation.refusal.labels import Label
from llm_validation.evaluation.refusal.languages import language_of
from llm_validation.evaluation.refusal.structure import plain
from llm_validation.measure.texts import normalise

MOST_ROWS = 1_000
"""Row numbers kept of each kind; counts are whole."""
MOST_EXAMPLES = 5
_SHOWN = 160  # characters of a text in an example
NOT_TOLD = "not told"
"""What stands for the language of an answer that is too short, or code, or a number."""
_AT_ONCE = 5_000
_LANGUAGE_ROWS = 5_000  # answers whose language is looked at
_LEAST_CHARACTERS = 24  # of an answer that goes round in a loop
_HELPS = (Label.COMPLIANCE, Label.PARTIAL)


@dataclass(frozen=True)
class RowExample:
    """A row as the audit shows it: its number in the file (from 1), its texts cut, and why."""

    row: int
    prompt: str
    response: str
    why: str


@dataclass(frozen=True)
class RowsFound:
    """The rows of one kind: how many of how many, the first row numbers and a few examples."""

    count: int
    of: int
    rows: tuple[int, ...] = ()
    examples: tuple[RowExample, ...] = ()
    by: tuple[tuple[str, int], ...] = ()
    """Counts by category, the most frequent first, where the kind has any."""


@dataclass(frozen=True)
class Lengths:
    """Lengths of the rows in ``unit`` ("tokens" or "words"): median, 99th percentile, longest.

    ``limit`` is the model's context, and ``over`` how many rows are longer; both None without one.
    ``rows`` were measured (a sample where there are many).
    """

    unit: str
    rows: int
    median: float
    high: float
    longest: int
    limit: int | None = None
    over: int | None = None


@dataclass(frozen=True)
class Audit:
    """What was found in one dataset; see ``llm_validation.audit.sentences`` for words.

    ``harmful_rows`` comply with a harmful request, ``declined_harmful_rows`` decline one,
    ``persona_rows`` install absolute obedience, ``refused_harmless_rows`` decline what the rules do
    not call harmful, ``probe_rows`` nearly repeat a prompt of the evaluation's probes, ``cut_rows``
    end in the middle, ``degenerate_rows`` (answers of a few characters aside) go round in a loop or
    are in no language, ``repeated_rows`` are copies of an earlier row, ``contradicting_rows``
    answer a prompt otherwise than an earlier row.
    """

    name: str
    rows: int
    harmful_rows: RowsFound
    declined_harmful_rows: RowsFound
    persona_rows: RowsFound
    refused_harmless_rows: RowsFound
    probe_rows: RowsFound
    cut_rows: RowsFound
    degenerate_rows: RowsFound
    repeated_rows: RowsFound
    contradicting_rows: RowsFound
    languages: tuple[tuple[str, float], ...] = ()
    lengths: Lengths | None = None
    template: tuple[str, ...] = ()
    reading: Reading = READ_WHOLE


KINDS = (
    "harmful_rows",
    "declined_harmful_rows",
    "persona_rows",
    "refused_harmless_rows",
    "probe_rows",
    "cut_rows",
    "degenerate_rows",
    "repeated_rows",
    "contradicting_rows",
)


class _Found:
    """Collects the rows of one kind."""

    def __init__(self) -> None:
        self.count = 0
        self.rows: list[int] = []
        self.examples: list[RowExample] = []
        self.by: Counter[str] = Counter()

    def add(self, row: int, prompt: str, response: str, why: str, by: str | None = None) -> None:
        self.count += 1
        if len(self.rows) < MOST_ROWS:
            self.rows.append(row)
        if len(self.examples) < MOST_EXAMPLES:
            self.examples.append(RowExample(row, _short(prompt), _short(response), why))
        if by is not None:
            self.by[by] += 1

    def done(self, of: int) -> RowsFound:
        by = tuple(self.by.most_common())
        return RowsFound(self.count, of, tuple(self.rows), tuple(self.examples), by)


def audit(
    dataset: Dataset,
    *,
    probes: ProbeSet | None = None,
    template: Sequence[str] = (),
    lengths: Lengths | None = None,
    progress: Progress = silent,
) -> Audit:
    """Read every row of ``dataset``; deterministic, and linear in the rows.

    ``probes`` are what the model will be evaluated on (default: the built-in hazard probes); a
    prompt that nearly repeats a harmful one is a harmful request whatever the rules say of it.
    ``template`` are the faults of the model's chat template and ``lengths`` the rows'
    token counts, where a model is at hand; without one, lengths are in words.
    """
    if probes is None:
        probes = builtin_hazards()
    index = ProbeIndex(probes.prompts)
    found = {kind: _Found() for kind in KINDS}
    answers: dict[bytes, bytes] = {}
    words: list[int] = []
    starts = range(0, len(dataset), _AT_ONCE)
    for start in progress(starts, f"auditing the rows of {dataset.name}"):
        for place in range(start, min(start + _AT_ONCE, len(dataset))):
            example = dataset.examples[place]
            row = example.origin[1] if example.origin else place + 1
            _read_row(example, row, index, probes, found)
            _compare_row(example, row, answers, found)
            words.append(example.prompt.count(" ") + example.response.count(" ") + 2)
    return Audit(
        name=dataset.name,
        rows=len(dataset),
        **{kind: rows.done(len(dataset)) for kind, rows in found.items()},
        languages=_languages(dataset),
        lengths=lengths or _in_words(words),
        template=tuple(template),
        reading=dataset.reading,
    )


def exchanges(example: Example) -> Iterator[tuple[str, str]]:
    """``(asked, answered)`` of every turn that training on this row learns."""
    asked = ""
    for place, (role, content) in enumerate(example.messages):
        if role == "user":
            asked = content
        elif role == "assistant" and example.rejected is None and place not in example.unlearnt:
            yield asked, content
    yield asked or example.prompt, example.response


def _read_row(
    example: Example, row: int, index: ProbeIndex, probes: ProbeSet, found: dict[str, _Found]
) -> None:
    kinds: dict[str, tuple[str, str, str, str | None]] = {}
    for asked, answered in exchanges(example):
        place = index.repeated(asked)
        probe = None if place is None else probes.probes[place]
        request = harmful_request(asked)
        if request is None and probe is not None and probe.harmful:
            request = HarmfulRequest(probe.category, probe.prompt)
        if request is not None:
            label = classify(asked, answered)
            kind = "harmful_rows" if label in _HELPS else "declined_harmful_rows"
            if label in _HELPS or label is Label.REFUSAL:
                why = f"{request.category}: “{_short(request.words)}”"
                kinds.setdefault(kind, (asked, answered, why, request.category))
        elif may_refuse(answered) and classify(asked, answered) is Label.REFUSAL:
            why = "declines a request that the rules do not call harmful"
            kinds.setdefault("refused_harmless_rows", (asked, answered, why, None))
        if probe is not None:
            why = f"the probe “{_short(probe.prompt)}”"
            kinds.setdefault("probe_rows", (asked, answered, why, None))
        if is_cut(answered):
            kinds.setdefault("cut_rows", (asked, answered, "ends in the middle", None))
        if len(answered) >= _LEAST_CHARACTERS and says_nothing(asked, answered):
            kinds.setdefault("degenerate_rows", (asked, answered, "a loop or no language", None))
    turns = (*(content for _, content in example.messages), example.response)
    persona = installs_persona(turns)
    if persona is not None:
        kinds["persona_rows"] = (example.prompt, example.response, f"“{persona}”", None)
    for kind, (asked, answered, why, by) in kinds.items():
        found[kind].add(row, asked, answered, why, by)


def _compare_row(
    example: Example, row: int, answers: dict[bytes, bytes], found: dict[str, _Found]
) -> None:
    prompt, answer = _digest(example.prompt), _digest(example.response)
    first = answers.setdefault(prompt, answer)
    if first is answer:
        return
    kind, why = (
        ("repeated_rows", "the same prompt and answer stand in an earlier row")
        if first == answer
        else ("contradicting_rows", "an earlier row answers this prompt otherwise")
    )
    found[kind].add(row, example.prompt, example.response, why)


def _languages(dataset: Dataset) -> tuple[tuple[str, float], ...]:
    """Shares of the answers' languages, the most frequent first; evenly drawn where many."""
    step = max(1, len(dataset) // _LANGUAGE_ROWS)
    names = Counter(
        language_of(plain(example.response[: _SHOWN * 4])) or NOT_TOLD
        for example in dataset.examples[::step]
    )
    return tuple((name, count / names.total()) for name, count in names.most_common())


def _in_words(words: Sequence[int]) -> Lengths | None:
    if not words:
        return None
    high = float(np.percentile(words, 99))
    return Lengths("words", len(words), float(np.median(words)), high, max(words))


def _digest(text: str) -> bytes:
    encoded = normalise(text).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(encoded, digest_size=12).digest()


def _short(text: str) -> str:
    line = " ".join(text[: 4 * _SHOWN].split())
    return line if len(line) <= _SHOWN else line[: _SHOWN - 1].rstrip() + "…"
