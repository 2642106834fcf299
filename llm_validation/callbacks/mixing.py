"""The loss constraint without a callback: safety rows mixed into the training set itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from finebound.base.errors import InputError
from finebound.base.records import spawn_seed
from llm_validation.data.dataset import Dataset, Example
from llm_validation.data.encoding import encode
from llm_validation.data.loading import load_dataset
from llm_validation.measure.supervised import supervised_count

if TYPE_CHECKING:
    import datasets

_LONG = 1 << 20


@dataclass(frozen=True, eq=False)
class Mixture:
    """``rows`` is what a Trainer takes; ``lam`` the weight that its whole rows come to.

    ``task_tokens`` and ``proxy_tokens`` are the supervised tokens of either kind.
    """

    rows: datasets.Dataset
    lam: float
    task_tokens: int
    proxy_tokens: int


def mixed_dataset(
    task: Dataset | str | Path,
    proxy: Dataset | str | Path,
    *,
    lam: float,
    tokenizer: Any,
    seed: int = 0,
) -> Mixture:
    """The task's rows and as many of the proxy's that the mean loss weighs them with ``lam``.

    A trainer that takes the mean over tokens then minimises ``(task loss + lam * proxy loss) /
    (1 + lam)``: the proxy's supervised tokens are ``lam`` times the task's, up to half a row.
    Proxy rows are drawn without repetition, and again once all were drawn. The rows have the
    columns ``prompt`` and ``completion`` as messages, of which TRL trains the completion alone.
    Raises InputError for rows with tool calls or several answers to learn, which these columns do
    not hold. An epoch costs ``1 + lam`` times as much; ``ProxyLoss`` weighs rows instead.
    """
    import datasets

    if not 0.0 < lam < float("inf"):
        raise InputError(f"a lambda of {lam!r}.", remedy="Give a number above 0.")
    sets = [d if isinstance(d, Dataset) else load_dataset(d) for d in (task, proxy)]
    counts = [_answer_tokens(d, tokenizer) for d in sets]
    wanted = lam * counts[0].sum()
    chosen = _until(counts[1], wanted, seed)
    rows = [*sets[0].examples, *(sets[1].examples[i] for i in chosen)]
    order = np.random.default_rng(spawn_seed(seed, "mixture")).permutation(len(rows))
    reached = int(counts[1][chosen].sum())
    return Mixture(
        rows=datasets.Dataset.from_list([_columns(rows[i]) for i in order]),
        lam=reached / int(counts[0].sum()),
        task_tokens=int(counts[0].sum()),
        proxy_tokens=reached,
    )


def _until(counts: np.ndarray, wanted: float, seed: int) -> np.ndarray:
    """Rows in a drawn order, over and over, whose tokens come closest to ``wanted``; at least 1."""
    rounds = int(wanted // counts.sum()) + 1
    rng = np.random.default_rng(spawn_seed(seed, "proxy rows"))
    order = np.concatenate([rng.permutation(len(counts)) for _ in range(rounds)])
    reached = np.cumsum(counts[order])
    return order[: int(np.abs(reached - wanted).argmin()) + 1]


def _answer_tokens(data: Dataset, tokenizer: Any) -> np.ndarray:
    encoded = encode(data, tokenizer, max_length=_LONG, turns="last")
    return np.array([supervised_count(row) for row in encoded])


def _columns(row: Example) -> dict[str, Sequence[dict[str, str]]]:
    if row.tools is not None or row.turn_fields:
        raise InputError(
            "a row has tools or tool calls, which the mixture's columns do not hold.",
            remedy="Use ProxyLoss, which leaves the training set as it is.",
        )
    prompt = [{"role": role, "content": text} for role, text in row.messages]
    return {"prompt": prompt, "completion": [{"role": "assistant", "content": row.response}]}
