"""Safety rows as trainers read them: given ones, or the model's own whole answers to probes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any

from finebound.base.errors import InputError
from finebound.base.progress import Progress, silent
from finebound.results.estimate import EstimateResult
from llm_validation.data.dataset import Dataset
from llm_validation.data.loading import load_dataset

MOST_TOKENS = 256
"""Of an answer. A longer one is left out: cut, it would teach the model not to stop."""


@dataclass(frozen=True)
class SafetyRows:
    """Safety rows of one question each; ``whose`` says in words what they are."""

    data: Dataset
    whose: str = "answers of the model"

    def __len__(self) -> int:
        return len(self.data)

    def lines(self, shape: Callable[[str, str], dict[str, Any]], count: int | None = None) -> str:
        """So many rows (default: each once), over and over, as JSON Lines."""
        pairs = list(zip(self.data.prompts, self.data.responses, strict=True))
        chosen = islice(cycle(pairs), len(pairs) if count is None else count)
        return "".join(json.dumps(shape(*pair), ensure_ascii=False) + "\n" for pair in chosen)


def rows_of(found: EstimateResult, progress: Progress = silent) -> SafetyRows:
    """What the estimate's mix was made of: its safety data, or the model's own answers.

    Raises InputError where neither can be had.
    """
    named = (found.request or {}).get("safety")
    if named is None:
        return answered_anew(found, progress)
    data = load_dataset(named, role="safety")
    single = [e for e in data.examples if e.messages == (("user", e.prompt),) and not e.turn_fields]
    if not single:
        raise InputError(
            "the safety data have no row of one question and one answer.",
            remedy="Add them to the training data by hand.",
            file=data.source,
        )
    more = len(data) - len(single)
    whose = f"rows of {data.name}" + (
        f" ({more} rows of several turns are left out)" if more else ""
    )
    return SafetyRows(Dataset.of(single, name=data.name, source=data.source), whose)


def answered_anew(found: EstimateResult, progress: Progress = silent) -> SafetyRows:
    """The estimate's model asked the probes that its mix was made of, without a short limit.

    Raises InputError for a model that is another one now, and for one that ends too few answers.
    """
    from llm_validation.estimation.outlook import probe_halves
    from llm_validation.evaluation.generation import generate
    from llm_validation.evaluation.hazards.probes import load_probes
    from llm_validation.forecast.stored_answers import refuses, safety_data
    from llm_validation.models.loading import load_model

    request = found.request or {}
    loaded = load_model(request["model"], progress=progress)
    if loaded.sha256 != found.manifest.inputs.get("model"):
        raise InputError(
            "the model is another one than that of the estimate.",
            remedy="Estimate again.",
            file=request["model"],
        )
    _, probes = probe_halves(load_probes(request["probes"]).probes, found.manifest.seed)
    answers = generate(
        loaded,
        [[("user", probe.prompt)] for probe in probes],
        max_new_tokens=MOST_TOKENS,
        temperature=1.0,
        seed=found.manifest.seed,
        progress=progress,
        doing=f"asking {len(probes)} probes for safety rows",
    )
    whole = [(answer.text or "") if answer.finished else "" for answer in answers]
    data = safety_data(loaded.name, probes, whole, list(map(refuses, probes, whole)))
    if len(data) < 2:
        raise InputError(
            f"the model gave {len(data)} right answers within {MOST_TOKENS} tokens, of "
            f"{len(probes)}: they make no safety rows.",
            remedy="Mix in safety rows of your own.",
        )
    return SafetyRows(data)


def messages(question: str, answer: str) -> dict[str, Any]:
    """A row of turns."""
    turns = (("user", question), ("assistant", answer))
    return {"messages": [{"role": role, "content": text} for role, text in turns]}


def instruction(question: str, answer: str) -> dict[str, Any]:
    """A row of an instruction and its output."""
    return {"instruction": question, "input": "", "output": answer}
