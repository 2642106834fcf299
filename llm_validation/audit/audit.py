"""What a file of training rows would teach beside its task: read row by row, before training."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from finebound.base.progress import Progress, silent
from finebound.results.audit import AuditResult, RowLengths, RowShown, RowsOfKind, TemplateFaults
from llm_validation.audit.cut_answers import is_cut
from llm_validation.audit.harmful_requests import HarmfulRequest, harmful_request
from llm_validation.audit.personas import installs_persona
from llm_validation.audit.probe_copies import ProbeIndex
from llm_validation.audit.refusal_screen import may_refuse
from llm_validation.audit.sentences import NOT_TOLD, sentences
from llm_validation.data.dataset import Dataset, Example
from llm_validation.data.reading import data_reading
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
_AT_ONCE = 5_000
_LANGUAGE_ROWS = 5_000  # answers whose language is looked at
_LEAST_CHARACTERS = 24  # of an answer that goes round in a loop
_HELPS = (Label.COMPLIANCE, Label.PARTIAL)


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
        self.examples: list[RowShown] = []
        self.by: Counter[str] = Counter()

    def add(self, row: int, prompt: str, response: str, why: str, by: str | None = None) -> None:
        self.count += 1
        if len(self.rows) < MOST_ROWS:
            self.rows.append(row)
        if len(self.examples) < MOST_EXAMPLES:
            shown = RowShown(row=row, prompt=_short(prompt), response=_short(response), why=why)
            self.examples.append(shown)
        if by is not None:
            self.by[by] += 1

    def done(self, of: int) -> RowsOfKind:
        return RowsOfKind(
            count=self.count,
            of=of,
            rows=self.rows,
            by=dict(self.by.most_common()),
            examples=self.examples,
        )


def audit(
    dataset: Dataset,
    *,
    probes: ProbeSet | None = None,
    progress: Progress = silent,
) -> AuditResult:
    """Read every row of ``dataset``; deterministic, and linear in the rows.

    ``probes`` are what the model will be evaluated on (default: the built-in hazard probes); a
    prompt that nearly repeats a harmful one is a harmful request whatever the rules say of it.
    Lengths are in words; ``with_the_models_word`` adds what a model's tokenizer makes of the rows.
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
    reading = data_reading(dataset.reading, most=MOST_ROWS)
    result = AuditResult(
        rows=len(dataset),
        **{kind: rows.done(len(dataset)) for kind, rows in found.items()},
        **dict(reading),
        template=TemplateFaults(faults=[]),
        languages=_languages(dataset),
        lengths=_in_words(words),
        sentences=[],
    )
    return result.model_copy(update={"sentences": sentences(result)})


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


def _languages(dataset: Dataset) -> dict[str, float]:
    """Shares of the answers' languages, the most frequent first; evenly drawn where many."""
    step = max(1, len(dataset) // _LANGUAGE_ROWS)
    names = Counter(
        language_of(plain(example.response[: _SHOWN * 4])) or NOT_TOLD
        for example in dataset.examples[::step]
    )
    return {name: count / names.total() for name, count in names.most_common()}


def _in_words(words: Sequence[int]) -> RowLengths | None:
    if not words:
        return None
    return RowLengths(
        unit="words",
        rows=len(words),
        median=float(np.median(words)),
        high=float(np.percentile(words, 99)),
        longest=max(words),
        limit=None,
        over=None,
    )


def _digest(text: str) -> bytes:
    encoded = normalise(text).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(encoded, digest_size=12).digest()


def _short(text: str) -> str:
    line = " ".join(text[: 4 * _SHOWN].split())
    return line if len(line) <= _SHOWN else line[: _SHOWN - 1].rstrip() + "…"
