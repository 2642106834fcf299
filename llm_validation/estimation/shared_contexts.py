"""The tabular problem that the rows themselves are: contexts = prompts, responses = answers.

On it the theorems hold with no measurement error: what every policy must pay because the same
prompt has another answer in the safety data than in the task data.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass

import numpy as np

from llm_validation.data.dataset import Dataset
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
    answers: dict[str, dict[str, Counter]] = {
        name: _answers_by_prompt(dataset) for name, dataset in datasets.items()
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
        alone = sum(sum(c.values()) for p, c in answers[name].items() if p not in labels) / rows
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
    written = _as_written(datasets.values(), set(contested))
    return SharedContexts(
        problem=problem,
        prompts=(*(written[prompt] for prompt in contested), *(None,) * len(_DATASETS)),
        shared=int(both.sum()),
        conflicting=int((both & differ).sum()),
    )


def _answers_by_prompt(dataset: Dataset) -> dict[str, Counter]:
    found: dict[str, Counter] = defaultdict(Counter)
    for example in dataset.examples:
        found[normalise(example.prompt)][normalise(example.response)] += 1
    return found


def _as_written(datasets, wanted: set[str]) -> dict[str, str]:
    written: dict[str, str] = {}
    for dataset in datasets:
        for example in dataset.examples:
            key = normalise(example.prompt)
            if key in wanted:
                written.setdefault(key, example.prompt)
    return written
