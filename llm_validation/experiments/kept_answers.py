"""What a run's generated answers are, whatever detector scored them: copies, loops, failures.

Read from the texts that every run keeps. A keyword detector calls an echo a refusal or compliance,
and a translation has no label at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path
from typing import TYPE_CHECKING

from finebound.results.evaluation import EvaluationResult
from llm_validation.data.builtin.requests import HARMLESS
from llm_validation.evaluation.fairness.record import EVALUATION as BBQ
from llm_validation.evaluation.hazards.scores import EVALUATION as HAZARDS
from llm_validation.evaluation.hazards.scores import OVER_REFUSAL
from llm_validation.evaluation.refusal.classifier import classify
from llm_validation.evaluation.refusal.labels import UNKNOWN, Label
from llm_validation.evaluation.refusal.structure import ECHO_FROM, plain, words
from llm_validation.evaluation.responses import Recorded, read_responses
from llm_validation.evaluation.translation import EVALUATION as TRANSLATION
from llm_validation.experiments.behaviour_parts import LOOK_ALIKES, RESPONSES

if TYPE_CHECKING:
    from llm_validation.experiments.answers import Answer

SAFETY_PROMPTS = "safety prompts"
_INCOHERENT = (Label.ECHO, Label.DEGENERATE)
_PART_OF = {LOOK_ALIKES: "refusal", OVER_REFUSAL: HAZARDS}
"""Which part asked for the answers of an evaluation, where it is not called the same."""
_SHORTEST_COPY = 4  # words: "the red car" may stand in a prompt and answer it
_LONGEST_COMPARED = 500  # words; the comparison is quadratic


@dataclass(frozen=True)
class Answered:
    """One evaluation's answers: of ``asked``, how many failed and how many are texts at all.

    An answer without a verdict has failed and is a text. A thought that was cut, and a text in a
    language that the rules do not read, has not failed and is none of the texts. ``incoherent`` are
    the texts that copy the prompt, loop or are empty; None where neither texts nor labels were
    kept.
    """

    evaluation: str
    asked: int
    failed: int
    texts: int
    incoherent: int | None

    @property
    def share(self) -> float:
        """Of the texts, those that are incoherent."""
        return (self.incoherent or 0) / max(self.texts, 1)


def answered(
    answers: Sequence[Answer], records: Mapping[str, EvaluationResult], behaviour: Path
) -> list[Answered]:
    """Every evaluation of a model whose answers were generated.

    ``answers`` are those to safety prompts, ``behaviour`` is the folder of its ``records``. Where
    an evaluation's texts are not there, its record's labels count instead. Raises InputError for
    texts that cannot be read.
    """
    found = [_of_safety_prompts(answers)] if answers else []
    for name, record in records.items():
        # The likeliest of three answers is not generated.
        if name != BBQ or record.report.get("by") == "generation":
            found.append(_answered(name, record, _kept(name, records, behaviour)))
    return found


def is_incoherent(prompt: str, response: str, *, evaluation: str = SAFETY_PROMPTS) -> bool:
    """Whether an answer copies its prompt, is empty, a loop or no language.

    A copy need not be whole: an answer can end before the prompt does, say hardly a word that the
    prompt does not, and a translation that is none copies its source and not the instruction.
    """
    label = classify(prompt, response)
    if label in _INCOHERENT:
        return True
    # What declines may repeat the request; one who quotes the prompt's own words declines nothing.
    helps = label in (Label.COMPLIANCE, Label.LANGUAGE_NOT_COVERED)
    return helps and _copies_a_part(prompt, response, evaluation)


def _copies_a_part(prompt: str, response: str, evaluation: str) -> bool:
    asked, said = words(plain(prompt)), words(plain(response))
    if len(said) < _SHORTEST_COPY:
        return False
    # No blank behind it: the last word may be cut off.
    whole, part = " " + " ".join(asked), " " + " ".join(said)
    if evaluation == BBQ:
        return whole.startswith(part)  # its prompt holds the answers too
    if part in whole:
        return True
    if evaluation != TRANSLATION:
        # A copy that goes on in the prompt's own words, over and over, says nothing either.
        distinct = set(said)
        return len(distinct & set(asked)) >= ECHO_FROM * len(distinct)
    asked, said = asked[:_LONGEST_COMPARED], said[:_LONGEST_COMPARED]
    same = SequenceMatcher(None, asked, said, autojunk=False).get_matching_blocks()
    return sum(block.size for block in same) >= ECHO_FROM * len(said)


def _of_safety_prompts(answers: Sequence[Answer]) -> Answered:
    texts = [(a, a.text) for a in answers if a.text is not None and a.label not in UNKNOWN]
    return Answered(
        SAFETY_PROMPTS,
        len(answers),
        sum(a.text is None or a.label == Label.ERROR for a in answers),
        len(texts),
        sum(a.label in _INCOHERENT or is_incoherent(a.prompt, text) for a, text in texts),
    )


def _answered(name: str, record: EvaluationResult, kept: Sequence[Recorded] | None) -> Answered:
    told = [item.more.get("outcome", item.more.get("label")) for item in record.items]
    failed = sum(
        (item.score is None and label not in UNKNOWN)
        or label == Label.ERROR
        or item.more.get("failed", False)
        for item, label in zip(record.items, told, strict=True)
    )
    asked = len(record.items)
    if kept is not None:
        given = [(item.prompt, item.response) for item in kept if item.response is not None]
        # A translation may be in any language.
        unknown = (Label.THOUGHT_CUT,) if name == TRANSLATION else UNKNOWN
        texts = [pair for pair in given if classify(*pair) not in unknown]
        incoherent = sum(is_incoherent(*pair, evaluation=name) for pair in texts)
        return Answered(name, asked, max(failed, asked - len(given)), len(texts), incoherent)
    unknown = sum(label in UNKNOWN for label in told)
    labelled = any(label is not None for label in told)
    incoherent = sum(label in _INCOHERENT for label in told) if labelled else None
    return Answered(name, asked, failed, asked - failed - unknown, incoherent)


def _kept(
    name: str, records: Mapping[str, EvaluationResult], behaviour: Path
) -> list[Recorded] | None:
    """The texts behind a record; None where they are not there, or are not its own."""
    file = behaviour / RESPONSES / f"{_PART_OF.get(name, name)}.jsonl"
    if not file.is_file():
        return None
    kept = list(read_responses(file).items)
    if name in (LOOK_ALIKES, "refusal"):
        kept = [item for item in kept if (item.category == HARMLESS) == (name == LOOK_ALIKES)]
    elif name in (HAZARDS, OVER_REFUSAL) and HAZARDS in records:
        harmful = len(records[HAZARDS].items)  # asked before the harmless ones
        kept = kept[:harmful] if name == HAZARDS else kept[harmful:]
    return kept if len(kept) == len(records[name].items) else None
