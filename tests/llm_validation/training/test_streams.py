"""What a step sees is a function of its number."""

from __future__ import annotations

import numpy as np
import pytest

from llm_validation.data.encoding import Encoded
from llm_validation.training.streams import (
    PROXY,
    TASK,
    Stream,
    Streams,
    collate_rows,
    micro_batches,
)


def rows_of_tokens(n: int, seed: int) -> tuple[Encoded, ...]:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(3, 20, n)
    return tuple(
        Encoded(rng.integers(1, 50, t, dtype=np.int32), np.arange(t) >= rng.integers(1, t))
        for t in lengths
    )


@pytest.fixture
def both() -> Streams:
    return Streams(
        Stream(TASK, rows_of_tokens(11, 0), 4, seed=5),
        Stream(PROXY, rows_of_tokens(7, 1), 3, seed=5),
    )


def test_every_epoch_visits_every_row_once_in_another_order(both):
    visited = np.concatenate([both.task.indices(step) for step in range(11)])
    epochs = visited.reshape(4, 11)
    for epoch in epochs:
        assert sorted(epoch) == list(range(11))
    assert len({tuple(epoch) for epoch in epochs}) == 4


def test_a_step_needs_no_step_before_it(both):
    in_order = [both.proxy.indices(step).tolist() for step in range(9)]
    again = Stream(PROXY, both.proxy.encoded, 3, seed=5)
    assert [again.indices(step).tolist() for step in reversed(range(9))] == in_order[::-1]


def test_seed_and_name_decide_the_order(both):
    other_seed = Stream(TASK, both.task.encoded, 4, seed=6)
    other_name = Stream(PROXY, both.task.encoded, 4, seed=5)
    first = [both.task.indices(step).tolist() for step in range(5)]
    for other in (other_seed, other_name):
        assert [other.indices(step).tolist() for step in range(5)] != first


def test_a_proxy_does_not_change_the_tasks_rows(both):
    alone = Streams(both.task)
    for step in range(6):
        kept = [row.index for row in both.rows(step) if row.stream == TASK]
        assert kept == [row.index for row in alone.rows(step)]


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("count", [1, 2])
def test_processes_and_micro_batches_share_a_step_without_loss(both, world, count):
    rows = both.rows(2)
    parts = [
        part
        for rank in range(world)
        for part in micro_batches(rows, count=count, rank=rank, world=world)
    ]
    assert len(parts) == world * count
    assert all(parts)
    dealt = sorted((row.stream, row.index) for part in parts for row in part)
    assert dealt == sorted((row.stream, row.index) for row in rows)


def test_more_micro_batches_than_rows_is_an_error(both):
    with pytest.raises(ValueError, match="do not fill"):
        micro_batches(both.rows(0), count=4, rank=0, world=2)


def test_a_collated_row_predicts_its_supervised_tokens(both):
    rows = both.rows(1)
    batch = collate_rows(rows, pad_id=0)
    length = batch["input_ids"].shape[1]
    flat = batch["input_ids"].reshape(-1)
    # The token after each predicting position is the target.
    assert (flat[batch["positions"] + 1] == batch["targets"]).all()
    by_row = np.bincount(batch["positions"].numpy() // length, minlength=len(rows))
    assert by_row.tolist() == [int(row.encoded.supervised[1:].sum()) for row in rows]
    assert int(batch["is_proxy"].sum()) == Streams.tokens(rows, PROXY)
    assert len(batch["targets"]) == Streams.tokens(rows, PROXY) + Streams.tokens(rows, TASK)
