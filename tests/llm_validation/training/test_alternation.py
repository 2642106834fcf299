"""Lisa's two states: which rows they see, what holds them, and that a kill changes nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from finebound.base.errors import InputError
from llm_validation.data.encoding import encode
from llm_validation.training.alternation import AlternatingStreams
from llm_validation.training.methods import FullWeights, Lora, attach
from llm_validation.training.plan import Dpo, TrainingPlan
from llm_validation.training.record import TRAIN_PROXY, TRAIN_TASK
from llm_validation.training.strategies import BiState
from llm_validation.training.streams import PROXY, TASK, Stream
from llm_validation.training.trainer import ConstraintTrainer

STATES = BiState(alignment_steps=2, task_steps=3, rho=0.7)
LORA = Lora(rank=4, alpha=8)
METHODS = [LORA, FullWeights()]
PLAN = TrainingPlan(
    strategy=STATES,
    method=LORA,
    steps=9,
    learning_rate=5e-3,
    batch_size=4,
    proxy_batch_size=3,
    checkpoint_every=2,
    evaluate_at=(),
)
ON_TASK = [False, False, True, True, True, False, False, True, True]


@pytest.fixture
def streams(bench):
    loaded = bench.load()
    rows = [tuple(encode(d, loaded.tokenizer, max_length=512)) for d in (bench.task, bench.proxy)]
    return AlternatingStreams(
        Stream(TASK, rows[0], 4, 0), Stream(PROXY, rows[1], 3, 0), states=STATES
    )


def test_a_step_is_of_one_stream_and_no_row_is_skipped(streams):
    steps = [streams.rows(step) for step in range(40)]
    for step, rows in enumerate(steps):
        (stream,) = {row.stream for row in rows}
        assert (stream == TASK) is (step % 5 >= 2)
        assert len(rows) == (4 if stream == TASK else 3)
    for stream, size in ((TASK, 11), (PROXY, 7)):
        seen = [row.index for rows in steps for row in rows if row.stream == stream]
        counts = np.bincount(seen, minlength=size)
        assert counts.max() - counts.min() <= 1
    assert STATES.alignment_steps_of(9) == 4
    assert [STATES.alignment_steps_of(n) for n in range(6)] == [0, 1, 2, 2, 2, 2]


@pytest.mark.parametrize("method", METHODS)
def test_the_trajectory_is_that_of_the_definition(bench, streams, method):
    """Plain SGD in plain transformers: alternate, pulled to where the other state ended."""
    plan = replace(PLAN, method=method, optimizer="sgd", learning_rate=0.05, clip=None)
    run = bench.run(plan)
    loaded = bench.load()
    model = attach(
        loaded.model, method, seed=plan.seed, tokenizer=loaded.tokenizer, compute=plan.precision
    ).eval()
    trained = [p for p in model.parameters() if p.requires_grad]
    other = [p.detach().clone() for p in trained]
    for step in range(plan.steps):
        if step % 5 in (0, 2):
            other = [p.detach().clone() for p in trained]
        total, tokens = torch.zeros(()), 0
        for row in streams.rows(step):
            ids = torch.from_numpy(row.encoded.input_ids.astype(np.int64))
            labels = torch.where(torch.from_numpy(row.encoded.supervised), ids, -100)
            count = int((labels[1:] != -100).sum())
            # transformers' own loss: a mean over the row's supervised tokens
            total = total + count * model(input_ids=ids[None], labels=labels[None]).loss
            tokens += count
        loss = total / tokens
        pull = 0.35 * sum((p - o).square().sum() for p, o in zip(trained, other, strict=True))
        column, empty = (
            ("task_loss", "proxy_loss") if ON_TASK[step] else ("proxy_loss", "task_loss")
        )
        assert run.steps[column][step] == pytest.approx(loss.item(), rel=1e-4)
        assert np.isnan(run.steps[empty][step])
        assert run.steps["penalty"][step] == pytest.approx(pull.item(), rel=1e-3, abs=1e-9)
        assert run.steps["objective"][step] == pytest.approx((loss + pull).item(), rel=1e-4)
        gradients = torch.autograd.grad(loss + pull, trained)
        with torch.no_grad():
            for p, g in zip(trained, gradients, strict=True):
                p -= 0.05 * g
    for found, p in zip(run.model.model.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(found.detach(), p.detach(), rtol=1e-4, atol=1e-5)
    # A state begins where the other one ended.
    assert (run.steps["penalty"][[0, 2, 5, 7]] == 0).all()
    assert (run.steps["penalty"][[1, 3, 4, 6, 8]] > 0).all()
    assert "lam" not in run.steps


def interrupt_at(step):
    def progress(items, doing):
        for item in items:
            if doing == "fine-tuning" and item == step:
                raise KeyboardInterrupt
            yield item

    return progress


@pytest.mark.parametrize("method", METHODS)
def test_a_resumed_run_goes_on_on_the_same_trajectory(bench, method, weights_of, tmp_path):
    # The checkpoint of step 4 lies inside the task's state, which began at step 2.
    plan, out = replace(PLAN, method=method), tmp_path / "run"
    whole = bench.run(plan)
    with pytest.raises(KeyboardInterrupt):
        bench.run(plan, out=out, progress=interrupt_at(5))
    assert (out / "checkpoints" / "checkpoint-4" / "other-state.safetensors").is_file()
    resumed = bench.run(plan, out=out)
    assert resumed.steps.keys() == whole.steps.keys()
    for name in whole.steps:
        np.testing.assert_allclose(resumed.steps[name], whole.steps[name], atol=1e-6, err_msg=name)
    np.testing.assert_allclose(weights_of(resumed), weights_of(whole), atol=1e-6)


def test_a_checkpoint_with_other_weights_is_another_trajectory(bench, tmp_path):
    """The saved state is what is read: without it the run is refused, spoilt it goes elsewhere.

    So it is with a checkpoint without hashes.
    """
    out, whole = tmp_path / "run", bench.run(PLAN)
    with pytest.raises(KeyboardInterrupt):
        bench.run(PLAN, out=out, progress=interrupt_at(5))
    file = out / "checkpoints" / "checkpoint-4" / "other-state.safetensors"
    file.with_name("hashes.json").unlink()
    kept = load_file(file)
    file.unlink()
    with pytest.raises(InputError, match="does not hold the weights of Lisa's other state"):
        bench.run(PLAN, out=out)
    save_file({name: t + 0.1 for name, t in kept.items()}, file)
    spoilt = bench.run(PLAN, out=out)
    np.testing.assert_allclose(spoilt.steps["penalty"][:4], whole.steps["penalty"][:4], atol=1e-6)
    assert spoilt.steps["penalty"][4] > whole.steps["penalty"][4] + 0.1


def test_a_checkpoint_whose_state_is_lost_leaves_the_older_one(bench, tmp_path):
    out, whole = tmp_path / "run", bench.run(PLAN)
    with pytest.raises(KeyboardInterrupt):
        bench.run(PLAN, out=out, progress=interrupt_at(5))
    (out / "checkpoints" / "checkpoint-4" / "other-state.safetensors").unlink()
    resumed = bench.run(PLAN, out=out)
    np.testing.assert_allclose(resumed.steps["penalty"], whole.steps["penalty"], atol=1e-6)


def test_a_stronger_term_keeps_the_states_closer(bench):
    def moved(rho):
        plan = replace(PLAN, strategy=BiState(1, 4, rho), steps=10)
        plan = replace(plan, optimizer="sgd", learning_rate=0.05, clip=None, method=FullWeights())
        return bench.run(plan).result["displacement"]["end"]

    assert moved(8.0) < 0.9 * moved(0.001)


def test_both_losses_are_measured_at_both_ends(bench):
    run = bench.run(PLAN)
    found = run.result["objective"]
    assert set(run.end) == {"safety", TRAIN_TASK, TRAIN_PROXY}
    assert found["lam"] == 0.0
    assert found["objective_end"] == found["task_end"] == run.end[TRAIN_TASK].per_token
    assert found["proxy_end"] == run.end[TRAIN_PROXY].per_token < found["proxy_start"]


def test_the_cut_of_a_step_changes_nothing(bench):
    whole, cut = (bench.run(replace(PLAN, gradient_accumulation=n)) for n in (1, 3))
    assert cut.steps["micro_batches"].tolist() == [3.0] * 9
    for column in ("objective", "penalty", "grad_norm"):
        np.testing.assert_allclose(
            cut.steps[column], whole.steps[column], rtol=2e-4, atol=1e-6, err_msg=column
        )


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"steps": 2}, "begins with 2 alignment steps, and there are only 2"),
        ({"objective": Dpo()}, "the objective is dpo"),
        ({"gradient_accumulation": 4}, "cuts 3 rows into 4"),
    ],
)
def test_plans_that_cannot_alternate_are_refused(settings, names):
    with pytest.raises(InputError, match=names):
        replace(PLAN, **settings)


def test_what_lisa_needs_is_asked_for(bench, monkeypatch):
    out = bench.folder / "none"
    with pytest.raises(InputError, match="alignment state needs proxy safety data"):
        bench.run(PLAN, proxy=None, out=out)
    assert not out.exists()
    original = ConstraintTrainer.__init__

    def sharded(trainer, *args, **options):
        original(trainer, *args, **options)
        trainer.is_fsdp_enabled = True

    monkeypatch.setattr(ConstraintTrainer, "__init__", sharded)
    with pytest.raises(InputError, match="lisa needs whole weights in every process, and FSDP"):
        bench.run(PLAN)
