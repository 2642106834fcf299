"""Translation into English: test sets, and chrF with its interval."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from finebound.base.errors import InputError
from finebound.results.evaluation import EvaluationResult, ScoredItem
from llm_validation.data.dataset import Dataset, Example
from llm_validation.data.loading import load_dataset, require_columns
from llm_validation.data.mt_pref import LANGUAGES, x_to_english
from llm_validation.evaluation.refusal.reasoning import split_reasoning
from theory.confidence import Interval
from theory.resampling import percentile_interval, resampled_counts

EVALUATION = "translation"
SHARE, SPLIT_SEED = 0.167, 42
"""Of the held-out split: the study's share of each language, and its seed."""
LEVEL, DRAWS = 0.95, 1000

_TATOEBA = re.compile(r"tatoeba\.([a-z]{3})-eng\.\1")
_TATOEBA_NAMES: Mapping[str, str] = dict(
    zip(("deu", "ita", "fra", "por", "spa"), LANGUAGES, strict=True)
)


def held_out_split(
    dataset: Dataset, *, share: float = SHARE, seed: int = SPLIT_SEED
) -> tuple[Dataset, Dataset]:
    """Training and test rows: ``share`` of each category, whole prompts, by a hash of the prompt.

    Neither depends on the order of the rows. Raises ValueError for a share outside (0, 1).
    """
    if not 0.0 < share < 1.0:
        raise ValueError(f"the share must lie between 0 and 1, not {share}")
    by_category: dict[str | None, dict[str, list[int]]] = {}
    for place, example in enumerate(dataset.examples):
        key = " ".join(example.prompt.split())
        by_category.setdefault(example.category, {}).setdefault(key, []).append(place)
    test: set[int] = set()
    for prompts in by_category.values():
        order = sorted(prompts, key=lambda prompt: _place(prompt, seed))
        for prompt in order[: round(share * len(order))]:
            test.update(prompts[prompt])
    parts = (
        [e for i, e in enumerate(dataset.examples) if (i in test) == wanted]
        for wanted in (False, True)
    )
    train, held_out = (
        Dataset.of(part, name=f"{dataset.name}.{name}", source=dataset.source)
        for part, name in zip(parts, ("train", "held-out"), strict=True)
    )
    return train, held_out


def load_test_set(
    ref: str | Path, *, instruction: str | None = None, ignore_columns: Collection[str] = ()
) -> Dataset:
    """The prompts and references that ``ref`` names; ``category`` is the source language.

    "builtin" is the held-out split of builtin:task-translation, the catalogue's name mt-pref that
    of MT-Pref; a folder with tatoeba.deu-eng.deu, tatoeba.deu-eng.eng, ... is read line by line;
    any other dataset is used whole. ``instruction`` wraps bare sources: it has {text}, perhaps
    {language}; ``ignore_columns`` are left unread. Raises InputError.
    """
    if str(ref) in ("builtin", "builtin:task-translation"):
        found = load_dataset("builtin:task-translation", ignore_columns=ignore_columns)
        found = held_out_split(found)[1]
    elif str(ref).lower() in ("mt-pref", "hf:sardinelab/mt-pref"):
        found = x_to_english(load_dataset(ref, ignore_columns=ignore_columns))
        found = held_out_split(found)[1]
    elif Path(ref).is_dir() and any(_TATOEBA.fullmatch(f.name) for f in Path(ref).iterdir()):
        require_columns(ignore_columns, {str(ref): ()})
        found = _tatoeba(Path(ref))
    else:
        found = load_dataset(ref, role="translation", ignore_columns=ignore_columns)
        found = x_to_english(found)
    return found if instruction is None else _instructed(found, instruction)


@dataclass(frozen=True)
class Chrf:
    """chrF (beta 2, character n-grams to 6; 0 to 100) of ``n`` translations.

    ``corpus`` with a bootstrap interval over items; ``items`` of each, ``failed`` how many could
    not be generated: they count as empty.
    """

    corpus: Interval
    items: tuple[float, ...]
    failed: int

    @property
    def n(self) -> int:
        return len(self.items)

    def as_json(self) -> dict[str, Any]:
        return {
            "chrf": self.corpus.estimate,
            "interval": [self.corpus.lower, self.corpus.upper],
            "n": self.n,
            "failed": self.failed,
        }


def chrf(
    translations: Sequence[str | None],
    references: Sequence[str],
    *,
    rng: np.random.Generator,
    draws: int = DRAWS,
) -> Chrf:
    """sacrebleu's chrF of the corpus and of each item; None is a translation that failed.

    A thought before a translation is no part of it; one that was cut leaves it empty.
    Raises ValueError without items or with a reference missing.
    """
    from sacrebleu.metrics import CHRF

    if not translations or len(translations) != len(references):
        raise ValueError(f"{len(translations)} translations of {len(references)} references")
    metric = CHRF(char_order=6, word_order=0, beta=2)
    texts = [split_reasoning(translation or "").answer or "" for translation in translations]
    whole = float(metric.corpus_score(texts, [list(references)]).score)
    items = tuple(
        float(metric.sentence_score(text, [reference]).score)
        for text, reference in zip(texts, references, strict=True)
    )
    failed = sum(translation is None for translation in translations)
    n = len(texts)
    if n < 2:
        return Chrf(Interval(whole, 0.0, 100.0), items, failed)
    # The counts that sacrebleu sums over a corpus, as its own significance tests resample them.
    counts = np.array(metric._extract_corpus_statistics(texts, [list(references)]), dtype=np.int64)
    resampled = resampled_counts(n, rng, draws) @ counts
    scores = [metric._compute_score_from_stats(row).score for row in resampled.tolist()]
    return Chrf(percentile_interval(whole, scores, level=LEVEL, hold=True), items, failed)


@dataclass(frozen=True)
class TranslationScores:
    """chrF over all items and of each source language."""

    total: Chrf
    languages: Mapping[str, Chrf]

    def as_json(self) -> dict[str, Any]:
        return {
            **self.total.as_json(),
            "languages": {name: found.as_json() for name, found in self.languages.items()},
        }


def score(
    test_set: Dataset, translations: Sequence[str | None], *, seed: int = 0
) -> TranslationScores:
    """chrF of translations of a test set, in its order, with intervals over items."""
    if len(translations) != len(test_set):
        raise ValueError(f"{len(translations)} translations of {len(test_set)} prompts")
    references = test_set.responses
    languages = dict.fromkeys(e.category for e in test_set.examples if e.category is not None)
    found = {}
    for language in languages:
        places = [i for i, e in enumerate(test_set.examples) if e.category == language]
        found[language] = chrf(
            [translations[i] for i in places],
            [references[i] for i in places],
            rng=np.random.default_rng(seed),
        )
    total = chrf(translations, references, rng=np.random.default_rng(seed))
    return TranslationScores(total, found)


def as_result(
    test_set: Dataset,
    translations: Sequence[str | None],
    scores: TranslationScores,
    *,
    label: str,
    summary: Mapping[str, Any],
) -> EvaluationResult:
    """The record: an item's score is its own chrF; a failed translation has none."""
    names = item_names(test_set)
    items = tuple(
        ScoredItem(id=name, category=example.category, score=None if text is None else value)
        for name, example, text, value in zip(
            names, test_set.examples, translations, scores.total.items, strict=True
        )
    )
    return EvaluationResult(
        evaluation=EVALUATION,
        label=label,
        score_means="chrF of one translation, 0 to 100",
        items=items,
        summary=summary,
    )


def item_names(test_set: Dataset) -> list[str]:
    """A name for every row, the same wherever prompt and reference are the same."""
    names: list[str] = []
    times: dict[str, int] = {}
    for example in test_set.examples:
        content = f"{example.prompt}\n{example.response}".encode("utf-8", "surrogatepass")
        name = hashlib.sha256(content).hexdigest()[:16]
        count = times[name] = times.get(name, -1) + 1
        names.append(f"{name}-{count}" if count else name)
    return names


def _place(prompt: str, seed: int) -> str:
    return hashlib.sha256(f"{seed}\n{prompt}".encode("utf-8", "surrogatepass")).hexdigest()


def _instructed(dataset: Dataset, instruction: str) -> Dataset:
    rows = []
    for example in dataset.examples:
        try:
            prompt = instruction.format(text=example.prompt, language=example.category or "")
        except (KeyError, IndexError, ValueError):
            prompt = ""
        if example.prompt not in prompt:
            raise InputError(
                f"the instruction {instruction!r} does not hold the text.",
                remedy='Write for example "Translate this {language} text into English: {text}".',
            )
        rows.append(replace(example, prompt=prompt, messages=(("user", prompt),)))
    return Dataset.of(rows, name=dataset.name, source=dataset.source)


def _tatoeba(folder: Path) -> Dataset:
    rows: list[Example] = []
    for file in sorted(f for f in folder.iterdir() if _TATOEBA.fullmatch(f.name)):
        english = file.with_suffix(".eng")
        sources, references = _lines(file), _lines(english)
        if len(sources) != len(references):
            raise InputError(
                f"{len(sources)} lines, and {english.name} has {len(references)}.",
                remedy="Take both files from the same release: line n translates line n.",
                file=file,
            )
        code = file.suffix[1:]
        language = _TATOEBA_NAMES.get(code, code)
        rows += [
            replace(Example.single_turn(text, reference, category=language), origin=(str(file), n))
            for n, (text, reference) in enumerate(zip(sources, references, strict=True), 1)
            if text.strip() and reference.strip()
        ]
    return Dataset.of(rows, name="tatoeba", source=str(folder))


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"the file cannot be read: {error}.",
            remedy="Give a folder with both files of each language, in UTF-8.",
            file=file,
        ) from error
