"""The loss of a step, however the step is cut, padded or ordered."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from finebound.base.errors import InputError
from llm_validation.data.encoding import collate, encode
from llm_validation.measure.coordinates import all_weights
from llm_validation.measure.gradients import loss_and_gradient
from llm_validation.measure.losses import measure_losses
from llm_validation.training.plan import FullWeights, Lora, TrainingPlan
from llm_validation.training.streams import PROXY, TASK, Stream, collate_rows, supervised_part
from llm_validation.training.trainer import ConstraintTrainer
from theory.strategy import LossConstraint

LORA = Lora(rank=4, alpha=8)
BOTH = TrainingPlan(
    strategy=LossConstraint(lam=0.7),
    method=LORA,
    steps=6,
    learning_rate=5e-3,
    batch_size=4,
    checkpoint_every=0,
    evaluate_at=(),
)
TRAJECTORY = ("task_loss", "proxy_loss", "objective", "grad_norm", "displacement")


def assert_same_trajectory(run, other, tolerance=1e-5):
    for name in TRAJECTORY:
        np.testing.assert_allclose(
            other.steps[name], run.steps[name], rtol=tolerance, atol=tolerance, err_msg=name
        )


def with_settings(plan: TrainingPlan, **settings) -> TrainingPlan:
    return replace(plan, **settings)


def left_padded(rows, pad_id):
    """What ``collate_rows`` makes, padded on the left."""
    right = collate([row.encoded for row in rows], pad_id)
    left = {name: torch.full_like(tensor, tensor[0, 0]) for name, tensor in right.items()}
    left["attention_mask"].fill_(0)
    left["labels"].fill_(-100)
    for i, row in enumerate(rows):
        t = len(row.encoded)
        for name, tensor in right.items():
            left[name][i, -t:] = tensor[i, :t]
    return supervised_part(left, rows)


def proxy_first(rows, pad_id):
    """The streams the other way round, each of them reversed too."""
    return collate_rows(sorted(rows, key=lambda row: (row.stream, -row.index)), pad_id)


@pytest.mark.parametrize("method", [LORA, FullWeights()])
def test_one_batch_of_eight_is_eight_batches_of_one(bench, weights_of, method):
    plan = with_settings(BOTH, method=method)
    whole = bench.run(plan)
    cut = bench.run(with_settings(plan, gradient_accumulation=8))
    assert cut.steps["micro_batches"].tolist() == [8.0] * 6
    assert_same_trajectory(whole, cut)
    np.testing.assert_allclose(weights_of(cut), weights_of(whole), atol=2e-5)


@pytest.mark.parametrize("collate", [left_padded, proxy_first])
def test_padding_side_and_order_of_the_streams_change_nothing(bench, collate):
    assert_same_trajectory(bench.run(BOTH), bench.run(BOTH, collate=collate))


def test_the_recorded_losses_are_token_means_of_the_steps_rows(bench):
    run = bench.run(BOTH)
    model = bench.load()
    losses = {}
    for name, data, rows in ((TASK, bench.task, 4), (PROXY, bench.proxy, 4)):
        encoded = encode(data, model.tokenizer, max_length=512)
        first = Stream(name, tuple(encoded), rows, BOTH.seed).indices(0)
        losses[name] = measure_losses(
            model.model, [encoded[i] for i in first], pad_id=model.tokenizer.pad_token_id
        ).per_token
    assert run.steps["task_loss"][0] == pytest.approx(losses[TASK], rel=1e-6)
    assert run.steps["proxy_loss"][0] == pytest.approx(losses[PROXY], rel=1e-6)
    assert run.steps["objective"][0] == pytest.approx(losses[TASK] + 0.7 * losses[PROXY], rel=1e-6)


@pytest.mark.parametrize("accumulation", [1, 5])
def test_a_step_follows_the_gradient_of_the_weighted_sum(bench, accumulation):
    # The whole data in one step of SGD: theta_1 = theta_0 - rate (grad f_f + lam grad f_proxy).
    plan = with_settings(
        BOTH,
        method=FullWeights(),
        optimizer="sgd",
        clip=None,
        steps=1,
        learning_rate=0.05,
        batch_size=len(bench.task),
        proxy_batch_size=len(bench.proxy),
        gradient_accumulation=accumulation,
    )
    model = bench.load()
    coordinates = all_weights(model.model)
    gradients = {}
    for name, data in ((TASK, bench.task), (PROXY, bench.proxy)):
        encoded = encode(data, model.tokenizer, max_length=512)
        gradients[name] = loss_and_gradient(
            model.model, coordinates, encoded, pad_id=model.tokenizer.pad_token_id
        ).gradient
    step = -0.05 * (gradients[TASK] + 0.7 * gradients[PROXY])
    before = torch.cat([p.detach().reshape(-1).clone() for p in coordinates.parameters])
    run = bench.run(plan, model=model)
    after = torch.cat([p.detach().reshape(-1) for p in coordinates.parameters])
    torch.testing.assert_close(after - before, step, rtol=1e-3, atol=2e-7)
    assert run.steps["displacement"][0] == pytest.approx(float(step.norm()), rel=1e-4)


class OutOfMemory:
    """A device that holds ``rows`` rows: more raise what torch raises."""

    def __init__(self, monkeypatch, rows: int) -> None:
        inside = ConstraintTrainer.compute_loss

        def limited(trainer, model, inputs, *arguments, **options):
            if len(inputs["input_ids"]) > rows:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
            return inside(trainer, model, inputs, *arguments, **options)

        monkeypatch.setattr(ConstraintTrainer, "compute_loss", limited)


def test_out_of_memory_halves_the_micro_batch_and_keeps_the_step(bench, monkeypatch):
    whole = bench.run(BOTH)
    OutOfMemory(monkeypatch, rows=2)
    halved = bench.run(BOTH)
    assert halved.steps["micro_batches"].tolist() == [4.0] * 6
    assert halved.result["micro_batches"] == 4
    assert_same_trajectory(whole, halved)


def test_a_row_that_does_not_fit_is_an_error(bench, monkeypatch):
    OutOfMemory(monkeypatch, rows=0)
    with pytest.raises(InputError, match=r"even with one row.*gradient_checkpointing"):
        bench.run(BOTH)


def test_a_diverging_run_stops_before_its_weights_are_lost(bench):
    wild = with_settings(BOTH, method=FullWeights(), optimizer="sgd", clip=None, learning_rate=1e30)
    model = bench.load()
    with pytest.raises(InputError, match=r"training diverged: the .* at step 2 is .*Lower the"):
        bench.run(wild, model=model, out=bench.folder / "wild")
    assert all(p.isfinite().all() for p in model.model.parameters())
    document = (bench.folder / "wild" / "run.json").read_text()
    assert '"status": "failed"' in document
    assert (bench.folder / "wild" / "steps.json").is_file()  # the step before it


def test_bf16_keeps_float32_weights_and_is_measured_in_float32(bench):
    exact = bench.run(with_settings(BOTH, method=FullWeights()))
    mixed = bench.run(with_settings(BOTH, method=FullWeights(), precision="bf16"))
    assert {p.dtype for p in mixed.model.model.parameters()} == {torch.float32}
    np.testing.assert_allclose(mixed.steps["task_loss"], exact.steps["task_loss"], rtol=0.05)
    assert (mixed.steps["task_loss"] != exact.steps["task_loss"]).all()
    # Full precision: the evaluation equals one of the same weights outside of the run.
    again = measure_losses(
        mixed.model.model,
        encode(bench.safety, mixed.model.tokenizer, max_length=512),
        pad_id=mixed.model.tokenizer.pad_token_id,
    )
    np.testing.assert_allclose(mixed.end["safety"].token_sum, again.token_sum, rtol=1e-7)


def test_gradient_checkpointing_changes_no_number(bench):
    plain = bench.run(BOTH)
    assert_same_trajectory(plain, bench.run(with_settings(BOTH, gradient_checkpointing=True)))


def test_rates_clip_and_steps_are_the_plans(bench):
    plan = with_settings(BOTH, schedule="cosine", warmup=2, clip=0.05)
    run = bench.run(plan)
    np.testing.assert_array_equal(run.steps["learning_rate"], plan.learning_rates())
    assert run.result["rates_match_plan"] is True
    assert run.steps["step"].tolist() == [1, 2, 3, 4, 5, 6]
    assert run.steps["grad_norm"].min() > 0.05  # recorded before clipping
