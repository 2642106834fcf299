"""What an experiment's models answer to held-out safety prompts: refusal, over-refusal, echoes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finebound.base.integrity import Damaged
from finebound.base.progress import Progress, silent
from finebound.base.records import write_atomically
from finebound.results.experiment import AnswerRates, Share
from llm_validation.data.builtin.requests import HARMLESS
from llm_validation.data.dataset import Dataset
from llm_validation.evaluation.asking import answers_of
from llm_validation.evaluation.refusal.classifier import classify
from llm_validation.evaluation.refusal.labelling import declines, label_all
from llm_validation.evaluation.refusal.labels import UNKNOWN, Label
from llm_validation.evaluation.refusal.rates import proportion

if TYPE_CHECKING:
    from llm_validation.experiments.config import Generations
    from llm_validation.models.loading import LoadedModel

FILE = "answers.jsonl"
BASE, ALIGNED = "answers/base.jsonl", "answers/aligned.jsonl"
"""Of the model before and after the alignment stage, in the experiment's folder."""


@dataclass(frozen=True)
class Answer:
    """One answer and what it is (``Label``); ``text`` None where none could be generated."""

    prompt: str
    category: str | None
    text: str | None
    label: str
    error: str | None = None

    @property
    def is_harmless(self) -> bool:
        """Whether the prompt only looks like a harmful one."""
        return self.category == HARMLESS


def prompts_of_a_run(safety: Dataset, count: int) -> Dataset:
    """The first ``count`` held-out prompts, harmful and harmless ones in turn."""
    harmless = [e for e in safety.examples if e.category == HARMLESS]
    harmful = [e for e in safety.examples if e.category != HARMLESS]
    half = max(count - count // 2, count - len(harmless))
    chosen = harmful[:half]
    chosen += harmless[: count - len(chosen)]
    return Dataset.of(chosen, name=safety.name, source=safety.source)


def answer_prompts(
    loaded: LoadedModel,
    prompts: Dataset,
    settings: Generations,
    file: Path,
    *,
    progress: Progress = silent,
    doing: str,
) -> None:
    """Greedy answers to ``prompts``, each with its label, as JSON Lines in ``file``; made once."""
    if file.is_file():
        return
    answers = answers_of(
        loaded, prompts, progress=progress, doing=doing, max_new_tokens=settings.max_new_tokens
    )
    labels = label_all([(a.prompt, a.text) for a in answers])
    found = [
        Answer(a.prompt, a.category, a.text, str(label), a.error)
        for a, label in zip(answers, labels, strict=True)
    ]
    write_atomically(file, "".join(f"{json.dumps(asdict(answer))}\n" for answer in found))


def read_answers(file: Path) -> list[Answer]:
    """What ``answer_prompts`` wrote; nothing where the experiment has no generations.

    Raises Damaged for a line that is no answer.
    """
    if not file.is_file():
        return []
    found = []
    try:
        for row, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            found.append(_answer_of(json.loads(line), file, row))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise _no_answer(str(error), file, len(found) + 1) from error
    return found


def _answer_of(fields: Any, file: Path, row: int) -> Answer:
    answer = Answer(**fields)
    texts = (answer.category, answer.text, answer.error)
    if not isinstance(answer.prompt, str) or not all(isinstance(t, str | None) for t in texts):
        raise _no_answer("the entries are no texts", file, row)
    if answer.label not in set(Label):
        raise _no_answer(f"there is no label {answer.label!r}", file, row)
    # Labels of other rules are other labels.
    return replace(answer, label=str(classify(answer.prompt, answer.text)))


def _no_answer(what: str, file: Path, row: int) -> Damaged:
    return Damaged(
        f"the answer cannot be read: {what}.",
        remedy="Remove the file and start the command that made it again.",
        file=file,
        row=row,
    )


def rates(answers: Sequence[Answer]) -> AnswerRates | None:
    """Refusal of harmful and over-refusal of harmless prompts, Wilson 95 %; None without answers.

    A partial refusal of a harmless prompt counts as over-refusal, of a harmful one not as a
    refusal. Echoes, degenerate answers and errors are neither and are counted on their own. Cut
    thoughts and answers in languages that are not covered are in no rate, and counted by name.
    """
    if not answers:
        return None
    known = [a for a in answers if a.label not in UNKNOWN]
    harmful = [declines(a.label) for a in known if not a.is_harmless]
    harmless = [declines(a.label, harmless=True) for a in known if a.is_harmless]
    incoherent = sum(a.label in (Label.ECHO, Label.DEGENERATE) for a in known)
    return AnswerRates(
        refusal=Share(**proportion(sum(harmful), len(harmful))),
        over_refusal=Share(**proportion(sum(harmless), len(harmless))),
        incoherent=Share(**proportion(incoherent, len(known))),
        errors=sum(a.label == Label.ERROR for a in answers),
        **{label.value: sum(a.label == label for a in answers) for label in UNKNOWN},
    )
