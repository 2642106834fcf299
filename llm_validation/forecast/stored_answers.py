"""The aligned model's own answers to probes: safety data that has no other teacher.

They are drawn at temperature 1 and kept with their labels and likelihoods, so that changed weights
are judged without new answers (T21, T22), or are asked the same probes again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from transformers import PreTrainedModel

from finebound.base.progress import Progress, silent
from llm_validation.data.dataset import Dataset, Example
from llm_validation.data.encoding import Encoded, encode
from llm_validation.evaluation.generation import generate
from llm_validation.evaluation.hazards.layouts import Probe
from llm_validation.evaluation.refusal.classifier import classify
from llm_validation.evaluation.refusal.labels import Label
from llm_validation.measure.losses import measure_losses
from llm_validation.measure.shared_prefix import shared_prefixes, unread
from llm_validation.models.loading import LoadedModel

PREFIX = 24
"""Tokens of an answer by which it is judged: a refusal says what it is by then."""
SELF_GENERATED = "self-generated"
"""Source of the answers as data."""
_BATCH = 6144  # tokens, answers included


@dataclass(frozen=True, eq=False)
class StoredAnswers:
    """One answer to each probe, cut after ``PREFIX`` tokens.

    ``rows`` are the prompts with these tokens, all of them supervised; ``refused`` bool ``[n]``,
    ``harmful`` bool ``[n]`` of the probes, ``log_likelihood`` float64 ``[n]``: of an answer's
    tokens under the model that gave it (``answered_by``), nats.
    """

    probes: tuple[Probe, ...]
    answers: tuple[str, ...]
    rows: tuple[Encoded, ...]
    refused: np.ndarray
    harmful: np.ndarray
    log_likelihood: np.ndarray
    answered_by: str

    def likelihoods(
        self, model: PreTrainedModel, *, pad_id: int, lookalikes: bool = True
    ) -> np.ndarray:
        """Log-likelihoods of the answers under changed weights, float64 ``[n]``, nats.

        Without ``lookalikes`` those to harmless probes are NaN.
        """
        found = np.full(len(self.rows), np.nan)
        mine = self.harmful | lookalikes
        rows = [row for row, its in zip(self.rows, mine, strict=True) if its]
        losses = measure_losses(model, rows, pad_id=pad_id, tokens_per_batch=2048)
        found[mine] = -losses.token_sum
        return found

    def beginnings(self, loaded: LoadedModel, tokens: int) -> StoredAnswers:
        """The answers cut after fewer tokens, as ``loaded``, which gave them, begins them."""
        rows = tuple(row.beginning(tokens) for row in self.rows)
        answers = tuple(
            str(loaded.tokenizer.decode(row.input_ids[row.supervised], skip_special_tokens=True))
            for row in rows
        )
        losses = measure_losses(loaded.model, rows, pad_id=loaded.pad_id, tokens_per_batch=2048)
        return replace(
            self,
            answers=answers,
            rows=rows,
            refused=np.array(list(map(refuses, self.probes, answers))),
            log_likelihood=-losses.token_sum,
        )

    @property
    def safety_data(self) -> Dataset:
        """The right ones of the answers (``safety_data``)."""
        return safety_data(self.answered_by, self.probes, self.answers, self.refused.tolist())

    def tokens_to_ask(self, draws: int, *, shared: bool) -> int:
        """Tokens that so many answers to each probe read and draw; see ``shared_prefixes``."""
        prompts = [row.input_ids[: int(row.supervised.argmax()) - 1].tolist() for row in self.rows]
        saved = unread(shared_prefixes(prompts * draws)) if shared else 0
        return draws * sum(map(len, self.rows)) - saved


def now_in_words(stored: StoredAnswers) -> str:
    """What the model refuses before any fine-tune, as a sentence."""
    harmful = stored.harmful
    shares = [100 * stored.refused[mine].mean() for mine in (harmful, ~harmful)]
    return (
        f"The model now refuses {shares[0]:.0f} % of {harmful.sum()} harmful probes and "
        f"{shares[1]:.0f} % of {(~harmful).sum()} harmless look-alikes."
    )


def store_answers(
    loaded: LoadedModel, probes: Sequence[Probe], *, seed: int, progress: Progress = silent
) -> StoredAnswers:
    """Ask ``loaded`` every probe once at temperature 1."""
    answers = ask(loaded, probes, temperature=1.0, seed=seed, progress=progress)
    return kept_answers(loaded, probes, answers)


def kept_answers(
    loaded: LoadedModel, probes: Sequence[Probe], answers: Sequence[str]
) -> StoredAnswers:
    """Answers that ``loaded`` gave, with their labels and likelihoods, without the empty ones."""
    answered = [(probe, text) for probe, text in zip(probes, answers, strict=True) if text]
    rows = _first_tokens(loaded, answered)
    losses = measure_losses(loaded.model, rows, pad_id=loaded.pad_id, tokens_per_batch=2048)
    return StoredAnswers(
        probes=tuple(probe for probe, _ in answered),
        answers=tuple(text for _, text in answered),
        rows=tuple(rows),
        refused=np.array([refuses(probe, text) for probe, text in answered]),
        harmful=np.array([probe.harmful for probe, _ in answered]),
        log_likelihood=-losses.token_sum,
        answered_by=loaded.name,
    )


def safety_data(
    answered_by: str, probes: Sequence[Probe], answers: Sequence[str], refused: Sequence[bool]
) -> Dataset:
    """Answers as safety data: refusals of harmful probes, help with harmless ones."""
    return Dataset.of(
        (
            Example.single_turn(probe.prompt, answer, category=probe.category)
            for probe, answer, declined in zip(probes, answers, refused, strict=True)
            if declined == probe.harmful and answer.strip()
        ),
        name=f"answers of {answered_by}",
        source=SELF_GENERATED,
    )


def ask(
    loaded: LoadedModel,
    probes: Sequence[Probe],
    *,
    temperature: float,
    seed: int,
    first: int = 0,
    progress: Progress = silent,
) -> list[str]:
    """The first ``PREFIX`` tokens of an answer to every probe; empty where there is none.

    Probes may be repeated; ``first`` as in ``generate``.
    """
    found = generate(
        loaded,
        [[("user", probe.prompt)] for probe in probes],
        max_new_tokens=PREFIX,
        temperature=temperature,
        seed=seed,
        first=first,
        tokens_per_batch=_BATCH,
        progress=progress,
        doing=f"asking {len(probes)} probes at temperature {temperature:g}",
    )
    return [answer.text or "" for answer in found]


def refusals(
    loaded: LoadedModel,
    probes: Sequence[Probe],
    *,
    temperature: float,
    draws: int = 1,
    seed: int,
    first: int = 0,
    progress: Progress = silent,
) -> np.ndarray:
    """Which answers refuse, bool ``[draws, n]``; a draw has its random numbers by its number.

    ``first`` is that of the first one. A probe that is drawn several times is read once.
    """
    repeated = list(probes) * draws
    answers = ask(
        loaded, repeated, temperature=temperature, seed=seed, first=first, progress=progress
    )
    drawn = [refuses(probe, answer) for probe, answer in zip(repeated, answers, strict=True)]
    return np.array(drawn, dtype=bool).reshape(draws, len(probes))


def refuses(probe: Probe, answer: str) -> bool:
    """Whether the beginning of an answer refuses."""
    return classify(probe.prompt, answer) is Label.REFUSAL


def _first_tokens(loaded: LoadedModel, answered: Sequence[tuple[Probe, str]]) -> list[Encoded]:
    data = Dataset.of(((probe.prompt, text) for probe, text in answered), name="own answers")
    encoded = encode(data, loaded.tokenizer, max_length=loaded.context_length, on_long="truncate")
    return [row.beginning(PREFIX) for row in encoded]
