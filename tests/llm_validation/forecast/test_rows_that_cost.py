"""Attribution to rows: exact where every gradient is known, and it finds what was planted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput

from finebound.base.errors import InputError
from llm_validation.data.dataset import Dataset
from llm_validation.forecast.optimiser import Trajectory
from llm_validation.forecast.rows_that_cost import RowsThatCost, rows_that_cost
from llm_validation.forecast.unroll import CoarseUnroll
from llm_validation.forecast.world import World, prepared
from llm_validation.training.plan import Dpo, FullWeights

SGD = {"method": FullWeights(), "optimizer": "sgd", "learning_rate": 1e-3, "clip": None}


class Bigram(PreTrainedModel):
    """The next token's logits are a row of a table: every gradient is known."""

    config_class = LlamaConfig

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__(config)
        self.table = torch.nn.Embedding(config.vocab_size, config.vocab_size)
        self.post_init()

    def get_input_embeddings(self):
        return self.table

    def get_output_embeddings(self):
        return None

    def forward(self, input_ids, attention_mask=None, **_) -> CausalLMOutput:
        return CausalLMOutput(logits=self.table(input_ids))


def gradient_in_closed_form(table: np.ndarray, row) -> np.ndarray:
    """Of the row's summed token loss: the prediction less the token, at each token before it."""
    found = np.zeros_like(table)
    for place in np.flatnonzero(row.supervised[1:]):
        before, target = row.input_ids[place], row.input_ids[place + 1]
        prediction = np.exp(table[before] - table[before].max())
        found[before] += prediction / prediction.sum()
        found[before, target] -= 1.0
    return found


def score(world, plan, *, steps: int = 4, safety=None, **options) -> RowsThatCost:
    unroll = CoarseUnroll(steps=steps)
    rows = world.encoded("safety") if safety is None else safety
    with unroll.unrolled(world, plan) as (model, path):
        return rows_that_cost(world, plan, model, path, unroll.rates(plan), rows, **options)


def by_row(found: RowsThatCost) -> np.ndarray:
    return found.changes[np.argsort(found.rows)]


@pytest.mark.parametrize("own_answers", [False, True])
def test_sgd_on_a_bigram_table_is_scored_in_closed_form(
    own_answers, theta, datasets, small_plan
) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Bigram(LlamaConfig(vocab_size=len(theta.tokenizer), initializer_range=1.0))
    world = World(replace(theta, model=model), datasets["safety"], datasets["task"])
    plan = small_plan(**{**SGD, "learning_rate": 0.1}, steps=4)
    task, safety = world.encoded("task"), world.encoded("safety")
    with CoarseUnroll(steps=4).unrolled(world, plan) as (moved, path):
        tables = [path.start[0].double().numpy(), moved.table.weight.detach().double().numpy()]
        options = {"own_answers": own_answers, "points": (0.5,)}
        found = rows_that_cost(world, plan, moved, path, plan.learning_rates(), safety, **options)
        np.testing.assert_array_equal(moved.table.weight.detach().double().numpy(), tables[1])

    def of_safety(table: np.ndarray) -> np.ndarray:
        total = sum(gradient_in_closed_form(table, row) for row in safety)
        return total / sum(row.supervised[1:].sum() for row in safety)

    at_start, at_end = map(of_safety, tables)
    # The gradient at the start is noise of own answers.
    direction = (at_end - at_start if own_answers else at_end + at_start) / 2
    slopes = [(direction * gradient_in_closed_form(np.mean(tables, 0), row)).sum() for row in task]
    counts = sum(row.supervised[1:].sum() for row in task)
    expected = -plan.learning_rates().sum() * np.array(slopes) / counts
    np.testing.assert_allclose(by_row(found), expected, rtol=2e-3, atol=2e-3 * abs(expected).max())
    assert np.corrcoef(by_row(found), expected)[0, 1] > 0.9999


@pytest.mark.parametrize("method", ["lora", "full"])
def test_adamw_is_scored_as_the_gradients_say(method, theta, datasets, small_plan) -> None:
    plan = small_plan(**({} if method == "lora" else {"method": FullWeights()}))
    task = Dataset.of(datasets["task"].examples[:10], name="few")
    world, unroll = World(theta, datasets["safety"], task), CoarseUnroll(steps=4)
    safety, rates = world.encoded("safety")[:4], unroll.rates(plan)
    counts = [sum(r.supervised[1:].sum() for r in rows) for rows in (safety, world.encoded("task"))]
    slopes = np.zeros(10)
    with unroll.unrolled(world, plan) as (model, path):
        options = {"own_answers": False, "points": (0.0, 1.0)}
        found = rows_that_cost(world, plan, model, path, rates, safety, **options)
        trained = [p for p in model.parameters() if p.requires_grad]
        ends = path.start, [p.detach().clone() for p in trained]

        def gradients(rows, values) -> torch.Tensor:
            for p, value in zip(trained, values, strict=True):
                p.data.copy_(value)
            return torch.stack([_gradient(model, row, trained) for row in rows])

        mean = sum(gradients(safety, values).sum(0) for values in ends) / (2 * counts[0])
        squares = torch.cat([v.reshape(-1) for v in path.second_moments])
        # A number that no step moved is left out.
        direction = mean / (squares.sqrt() + 1e-8) * (squares > 0)
        for values in ends:
            slopes += (gradients(world.encoded("task"), values) @ direction).numpy() / 2
    expected = -rates.sum() * slopes / counts[1]
    assert np.corrcoef(by_row(found), expected)[0, 1] > 0.999
    np.testing.assert_allclose(by_row(found), expected, atol=0.03 * abs(expected).max())


def _gradient(model, row, trained) -> torch.Tensor:
    ids = torch.tensor(row.input_ids, dtype=torch.long)[None]
    labels = torch.where(torch.tensor(row.supervised), ids[0], -100)
    logits = model(input_ids=ids).logits[0, :-1]
    loss = torch.nn.functional.cross_entropy(logits, labels[1:], reduction="sum")
    return torch.cat([part.reshape(-1) for part in torch.autograd.grad(loss, trained)])


@pytest.mark.parametrize("settings", [{}, SGD], ids=["lora", "full, SGD"])
def test_planted_rows_come_first(settings, theta, datasets, small_plan) -> None:
    planted = [
        (row.prompt, "the thin ant is in a house") for row in datasets["safety"].examples[:4]
    ]
    # Beside them a task of the model's own answers.
    own = [(row.prompt, row.response) for row in datasets["safety"].examples[4:24]]
    mixed = Dataset.of([*own[:7], *planted[:2], *own[7:], *planted[2:]], name="planted")
    world = World(theta, datasets["safety"], mixed)
    found = score(world, small_plan(**settings), own_answers=False)
    assert set(found.rows[:4].tolist()) == {8, 9, 23, 24}
    assert found.costliest(4 / 24) == (8, 9, 23, 24)
    # The others are safety rows themselves: training on them protects.
    assert (found.changes[:4] > 0).all()
    assert by_row(found)[[0, 1, 2, 3, 4, 5, 6, 9]].mean() < 0
    assert found.shares[:4].sum() == pytest.approx(1.0, abs=0.2)


def test_a_safety_row_among_the_task_protects(theta, datasets, small_plan) -> None:
    one = datasets["safety"].examples[0]
    rows = [(one.prompt, one.response)]
    rows += [(row.prompt, row.response) for row in datasets["task"].examples[:11]]
    world = World(theta, datasets["safety"], Dataset.of(rows, name="with a safety row"))
    safety = world.encoded("safety")[:1] * 2
    assert len(safety[0]) == len(world.encoded("task")[0])
    found = score(world, small_plan(), safety=safety, own_answers=False)
    assert by_row(found)[0] < 0
    assert found.shares[found.rows.tolist().index(1)] < 0


def test_a_lora_at_its_start_is_scored_by_its_second_factor(world_of, small_plan) -> None:
    """B = 0: the gradient in A is 0 there, and the rows differ by that in B alone."""
    world, plan = world_of(), small_plan()
    with prepared(world.model, plan) as (model, _):
        trained = [p for p in model.parameters() if p.requires_grad]
        assert all(not p.any() for n, p in model.named_parameters() if "lora_B" in n)
        still = Trajectory(
            np.zeros(1), np.zeros(1), tuple(p.detach().clone() for p in trained), 4, 0.0
        )
        with pytest.raises(InputError, match="did not move"):
            rows_that_cost(world, plan, model, still, np.ones(1), world.encoded("safety"))
    found = score(world, plan)
    assert np.isfinite(found.changes).all()
    assert np.ptp(found.changes) > 0


def test_order_padding_and_the_weights_change_nothing(theta, datasets, small_plan, imprint) -> None:
    plan = small_plan()
    before = imprint(theta)
    rows = [(row.prompt, row.response) for row in datasets["task"].examples[:16]]
    world = World(theta, datasets["safety"], Dataset.of(rows, name="rows"))
    unroll, safety = CoarseUnroll(steps=4), world.encoded("safety")
    order = np.random.default_rng(1).permutation(16)
    turned = World(theta, datasets["safety"], Dataset.of([rows[i] for i in order], name="turned"))
    with_long = World(
        theta, datasets["safety"], Dataset.of([*rows, ("a " * 60, "the " * 40)], name="padded")
    )
    with unroll.unrolled(world, plan) as (model, path):
        found, other, padded = (
            rows_that_cost(w, plan, model, path, unroll.rates(plan), safety)
            for w in (world, turned, with_long)
        )
        backwards = rows_that_cost(world, plan, model, path, unroll.rates(plan), safety[::-1])
    assert imprint(theta) == before
    scale = abs(found.changes).max()
    np.testing.assert_allclose(by_row(other), by_row(found)[order], atol=2e-3 * scale)
    np.testing.assert_allclose(by_row(backwards), by_row(found), atol=2e-3 * scale)
    counts = [sum(r.supervised[1:].sum() for r in w.encoded("task")) for w in (world, with_long)]
    again = by_row(padded)[:16] * counts[1] / counts[0]
    np.testing.assert_allclose(again, by_row(found), atol=2e-3 * scale)


def test_a_budget_scores_a_sample_with_the_same_scores(world_of, small_plan) -> None:
    world, plan = world_of(), small_plan()
    safety = world.encoded("safety")[:4]
    whole = score(world, plan, safety=safety)
    assert len(whole.rows) == whole.of == len(world.encoded("task"))
    assert sorted(whole.rows.tolist()) == [row.row for row in world.encoded("task")]
    some = score(world, plan, safety=safety, tokens=0.6 * whole.tokens)
    assert 1 <= len(some.rows) < whole.of == some.of
    assert some.tokens <= 0.6 * whole.tokens
    known = dict(zip(whole.rows.tolist(), whole.changes, strict=True))
    expected = [known[row] for row in some.rows.tolist()]
    np.testing.assert_allclose(some.changes, expected, atol=2e-3 * abs(whole.changes).max())
    with pytest.raises(InputError, match="pay for no row"):
        score(world, plan, safety=safety, tokens=10.0)


def test_pairs_are_not_scored(theta, datasets, small_plan) -> None:
    plan = small_plan(objective=Dpo())
    world = World(theta, datasets["safety"], datasets["task"])
    still = Trajectory(np.zeros(1), np.zeros(1), (), 4, 0.0)
    with pytest.raises(InputError, match="DPO"):
        rows_that_cost(world, plan, theta.model, still, np.ones(1), world.encoded("safety"))


def test_shares_of_rows_that_all_protect_are_zero() -> None:
    found = RowsThatCost(np.array([2, 1]), np.array([-1.0, -2.0]), 2, 10.0)
    assert found.shares.tolist() == [0.0, 0.0]
    found = RowsThatCost(np.array([3, 2, 1]), np.array([3.0, 1.0, -2.0]), 3, 1.0)
    assert found.shares.tolist() == [0.75, 0.25, -0.5]
