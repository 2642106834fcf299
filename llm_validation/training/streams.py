"""Which rows a step sees: a pure function of the step, the seed and the streams' names.

Nothing is consumed, so a run resumes at any step, and every process knows the whole step: the
totals that normalise the loss need no communication.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from finebound.base.records import spawn_seed
from llm_validation.data.encoding import Encoded, collate
from llm_validation.measure.supervised import supervised_count

if TYPE_CHECKING:
    import torch

TASK, PROXY = "task", "proxy"


@dataclass(frozen=True)
class StepRow:
    """One row of a step: its tokens, the stream and the place in it that it came from.

    In a preference pair ``encoded`` is the chosen answer; ``reference`` is how much more likely,
    in nats, the reference model makes it than the ``rejected`` one. ``token_reference`` are the
    answer's token losses under the reference model, nats ``[supervised tokens]``.
    """

    stream: str
    index: int
    encoded: Encoded
    rejected: Encoded | None = None
    reference: float = 0.0
    token_reference: np.ndarray | None = None

    @property
    def length(self) -> int:
        """Tokens of the row, of a pair's longer one."""
        return max(len(self.encoded), 0 if self.rejected is None else len(self.rejected))


@dataclass(frozen=True)
class Stream:
    """Rows visited in a fresh order every epoch, ``rows_per_step`` of them a step.

    An epoch's last rows and the next one's first can share a step: no row is skipped.
    """

    name: str
    encoded: tuple[Encoded, ...]
    rows_per_step: int
    seed: int

    def __post_init__(self) -> None:
        if not self.encoded or self.rows_per_step < 1:
            raise ValueError(f"the stream {self.name} needs rows, and at least one a step")

    def indices(self, step: int) -> np.ndarray:
        """Places of the rows of ``step`` (from 0) in the stream, int64 ``[rows_per_step]``."""
        n = len(self.encoded)
        places = np.arange(step * self.rows_per_step, (step + 1) * self.rows_per_step)
        return np.array([_order(self.seed, self.name, i // n, n)[i % n] for i in places.tolist()])

    def row(self, index: int) -> StepRow:
        """The row at a place in the stream."""
        return StepRow(self.name, index, self.encoded[index])


@lru_cache(maxsize=16)
def _order(seed: int, name: str, epoch: int, n: int) -> np.ndarray:
    return np.random.default_rng(spawn_seed(seed, f"{name}/epoch {epoch}")).permutation(n)


@dataclass(frozen=True)
class Streams:
    """The task's rows and, with a loss constraint, the proxy's, step by step."""

    task: Stream
    proxy: Stream | None = None

    def rows(self, step: int) -> list[StepRow]:
        """Every row of a step, longest first, so that micro-batches are padded little."""
        streams = [self.task] if self.proxy is None else [self.task, self.proxy]
        return longest_first(
            stream.row(int(index)) for stream in streams for index in stream.indices(step)
        )

    @staticmethod
    def tokens(rows: Sequence[StepRow], stream: str) -> int:
        """How many supervised tokens of ``stream`` these rows hold, in pairs the chosen answers."""
        return sum(supervised_count(row.encoded) for row in rows if row.stream == stream)


def longest_first(rows: Iterable[StepRow]) -> list[StepRow]:
    """The rows in an order that does not depend on that in which they are given."""
    return sorted(rows, key=lambda row: (-row.length, row.stream, row.index))


def micro_batches(
    rows: Sequence[StepRow], *, count: int, rank: int = 0, world: int = 1
) -> list[list[StepRow]]:
    """Process ``rank``'s share of a step in ``count`` micro-batches, none of them empty.

    Raises ValueError when there are not ``count`` rows for every process.
    """
    share = rows[rank::world]
    if len(rows) // world < count:
        raise ValueError(f"{len(rows)} rows do not fill {count} micro-batches of {world} processes")
    edges = np.linspace(0, len(share), count + 1).round().astype(int)
    return [list(share[a:b]) for a, b in pairwise(edges)]


Collate: TypeAlias = "Callable[[Sequence[StepRow], int], dict[str, torch.Tensor]]"


def collate_rows(rows: Sequence[StepRow], pad_id: int) -> dict[str, torch.Tensor]:
    """A micro-batch as tensors: right-padded ids and mask, and what is supervised in it.

    ``positions`` ``[m]`` index the flattened hidden states ``[rows * length]`` that predict a
    supervised token, ``targets`` ``[m]`` are those tokens, ``is_proxy`` ``[m]`` their stream.
    Preference pairs add their rejected answers as further rows, ``owners`` ``[m]`` (each target's
    row) and, per pair, the rows ``chosen`` and ``rejected`` and the ``reference`` ``[pairs]``.
    Rows with token losses under the reference model add them as ``token_reference`` ``[m]``, and
    ``nth`` ``[m]``, each target's place in its answer.
    """
    rejected = [row.rejected for row in rows if row.rejected is not None]
    return supervised_part(collate([*(row.encoded for row in rows), *rejected], pad_id), rows)


def supervised_part(
    batch: dict[str, torch.Tensor], rows: Sequence[StepRow]
) -> dict[str, torch.Tensor]:
    """``collate_rows``' tensors from ids, mask and labels padded on either side."""
    import torch

    labels = batch["labels"]
    owners, places = (labels[:, 1:] != -100).nonzero(as_tuple=True)
    is_proxy = torch.zeros(len(labels), dtype=torch.bool)
    is_proxy[: len(rows)] = torch.tensor([row.stream == PROXY for row in rows])
    pairs = [i for i, row in enumerate(rows) if row.rejected is not None]
    of_pairs = {
        "owners": owners,
        "chosen": torch.tensor(pairs),
        "rejected": torch.arange(len(rows), len(rows) + len(pairs)),
        "reference": torch.tensor([rows[i].reference for i in pairs], dtype=torch.float64),
    }
    known = [row.token_reference for row in rows if row.token_reference is not None]
    of_tokens = {
        "token_reference": torch.tensor(np.concatenate(known or [np.empty(0)])),
        "nth": torch.cat([torch.arange(len(losses)) for losses in known or [()]]),
    }
    return {
        "input_ids": batch["input_ids"],
        "attention_mask": batch["attention_mask"],
        "positions": owners * labels.shape[1] + places,
        "targets": labels[owners, places + 1],
        "is_proxy": is_proxy[owners],
        **(of_pairs if pairs else {}),
        **(of_tokens if known else {}),
    }
