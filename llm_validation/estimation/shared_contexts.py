"""The tabular problem that the rows themselves are: contexts = prompts, responses = answers.

On it the theorems hold with no measurement error: what every policy must pay because the same
prompt has another answer in the safety data than in the task data.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from llm_validation.data.dataset import Dataset, Example
from llm_validation.measure.texts import normalise
from theory.problem import Distribution, TabularProblem

_DATASETS = ("safety", "proxy", "task")


@dataclass(frozen=True)
class SharedContexts:
    """The rows as a ``TabularProblem`` and the prompts behind its contexts.

    ``prompts [X]``: one of each shared prompt as written; the last contexts of the problem gather
    what only one dataset asks (None). ``conflicting``: shared safety/task prompts whose answers
    differ. Gaps of this problem are nats per *response*.
    """

    problem: TabularProblem
    prompts: tuple[str | None, ...]
    shared: int
    conflicting: int


def shared_contexts(safety: Dataset, task: Dataset, proxy: Dataset | None = None) -> SharedContexts:
    """Merge prompts that are equal after ``normalise``; answers are labels within a prompt.

    A prompt that only one dataset asks can be answered as that dataset wants at no cost, so all of
    those share one context a dataset. Without a proxy the safety data are their own. Source: T3,
    T10 of docs/theorems.md on the empirical distributions of the rows.
    """
    datasets = {"safety": safety, "proxy": safety if proxy is None else proxy, "task": task}
    # Of millions of rows few share a prompt: the others are never held in a table.
    candidates = _asked_elsewhere(safety, task, *(() if proxy is None else (proxy,)))
    answers: dict[str, dict[str, Counter]] = {
        name: _answers_by_prompt(candidates[id(dataset)]) for name, dataset in datasets.items()
    }
    owners = Counter(prompt for name in _DATASETS for prompt in answers[name])
    if proxy is None:
        for prompt in answers["safety"]:
            owners[prompt] -= 1  # the safety data count once
    contested = sorted(prompt for prompt, count in owners.items() if count > 1)
    labels: dict[str, dict[str, int]] = {}
    for prompt in contested:
        texts = sorted({text for name in _DATASETS for text in answers[name].get(prompt, ())})
        labels[prompt] = {text: index for index, text in enumerate(texts)}
    responses = max((len(texts) for texts in labels.values()), default=1)
    size = len(contested) + len(_DATASETS)
    distributions = {}
    for position, name in enumerate(_DATASETS):
        rows = len(datasets[name])
        context = np.zeros(size)
        target = np.zeros((size, responses))
        for index, prompt in enumerate(contested):
            counts = answers[name].get(prompt)
            if not counts:
                target[index, 0] = 1.0
                continue
            total = sum(counts.values())
            context[index] = total / rows
            for text, count in counts.items():
                target[index, labels[prompt][text]] = count / total
        contested_rows = sum(sum(c.values()) for p, c in answers[name].items() if p in labels)
        alone = (rows - contested_rows) / rows
        # Without a proxy, safety and proxy are one dataset and share one context.
        place = len(contested) + (0 if proxy is None and name == "proxy" else position)
        context[place] = alone
        target[len(contested) :, 0] = 1.0
        distributions[name] = Distribution(context, target)
    problem = TabularProblem(
        safety=distributions["safety"],
        task=distributions["task"],
        proxy=None if proxy is None else distributions["proxy"],
    )
    both = (problem.safety.context > 0) & (problem.task.context > 0)
    differ = (problem.safety.target != problem.task.target).any(axis=-1)
    written = _as_written(datasets.values(), candidates, set(contested))
    return SharedContexts(
        problem=problem,
        prompts=(*(written[prompt] for prompt in contested), *(None,) * len(_DATASETS)),
        shared=int(both.sum()),
        conflicting=int((both & differ).sum()),
    )


def _asked_elsewhere(*datasets: Dataset) -> dict[int, list[Example]]:
    """Of each dataset (by ``id``) the examples whose prompt another one seems to ask too.

    Prompts are compared by 64-bit hashes: a rare pair of others with one hash is told apart when
    the prompts themselves are read.
    """
    hashes = [
        np.fromiter(map(_prompt_hash, dataset.examples), np.uint64, len(dataset))
        for dataset in datasets
    ]
    found = {}
    for place, dataset in enumerate(datasets):
        others = np.concatenate([h for other, h in enumerate(hashes) if other != place])
        rows = np.flatnonzero(np.isin(hashes[place], others))
        found[id(dataset)] = [dataset.examples[row] for row in rows]
    return found


def _prompt_hash(example: Example) -> int:
    text = normalise(example.prompt).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


def _answers_by_prompt(examples: Sequence[Example]) -> dict[str, Counter]:
    found: dict[str, Counter] = defaultdict(Counter)
    for example in examples:
        found[normalise(example.prompt)][normalise(example.response)] += 1
    return found


def _as_written(
    datasets: Iterable[Dataset], candidates: Mapping[int, Sequence[Example]], wanted: set[str]
) -> dict[str, str]:
    written: dict[str, str] = {}
    for dataset in datasets:
        for example in candidates[id(dataset)]:
            key = normalise(example.prompt)
            if key in wanted:
                written.setdefault(key, example.prompt)
    return written
