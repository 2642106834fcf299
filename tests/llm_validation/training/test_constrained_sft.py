"""Constrained SFT against its definition in plain transformers; its reference after a kill."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from finebound.base.errors import InputError
from llm_validation.data.encoding import encode
from llm_validation.models.loading import load_model
from llm_validation.training.constrained_sft import constrained_loss, read_token_losses
from llm_validation.training.evaluation import Evaluator
from llm_validation.training.methods import FullWeights, Lora, PromptTuning
from llm_validation.training.plan import Dpo, TrainingPlan
from llm_validation.training.record import TRAIN_TASK
from llm_validation.training.strategies import TokenConstraint

CONSTRAINT = TokenConstraint(beta=0.3)
PLAN = TrainingPlan(
    strategy=CONSTRAINT,
    method=FullWeights(),
    steps=6,
    learning_rate=3e-3,
    batch_size=4,
    checkpoint_every=0,
    evaluate_at=(),
)
SGD = replace(PLAN, optimizer="sgd", learning_rate=0.05, clip=None, batch_size=11)
LORA = replace(PLAN, method=Lora(rank=4, alpha=8), learning_rate=2e-2)
PROMPT = replace(PLAN, method=PromptTuning(tokens=5), learning_rate=5e-2)


def plain_token_losses(loaded, data) -> list[torch.Tensor]:
    """``-log p_t`` of every answer's tokens, float64, from transformers' plain logits."""
    found = []
    for row in encode(data, loaded.tokenizer, max_length=512):
        ids = torch.from_numpy(row.input_ids.astype(np.int64))
        logs = loaded.model(input_ids=ids[None]).logits[0, :-1].double().log_softmax(-1)
        taken = logs.gather(1, ids[1:, None])[:, 0]
        found.append(-taken[torch.from_numpy(row.supervised[1:])])
    return found


def definition(loaded, theta_s, data) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Of all tokens ``[m]``: the loss of the paper, its weight, the cross-entropy."""
    with torch.no_grad():
        reference = plain_token_losses(theta_s, data)
    losses, weights = [], []
    tokens = plain_token_losses(loaded, data)
    for now, before in zip(tokens, reference, strict=True):
        beta = torch.full_like(now, 0.3)
        beta[0], beta[1:5] = 0.3 * 5, 0.3 * 20
        ratio = before - now  # log p_t - log p_ref,t
        losses.append(-2 / beta * torch.nn.functional.logsigmoid(beta * ratio))
        weights.append(2 * (1 - torch.sigmoid(beta * ratio)))
    return torch.cat(losses), torch.cat(weights), torch.cat(tokens)


def test_the_first_five_tokens_have_betas_of_their_own():
    np.testing.assert_allclose(TokenConstraint().betas(7), [0.5, 2, 2, 2, 2, 0.1, 0.1])
    np.testing.assert_allclose(TokenConstraint(0.2, 3.0, 7.0).betas(2), [0.6, 1.4])


def test_the_first_step_is_that_of_plain_training(bench, weights_of):
    # Every weight is 1 where the model is its own reference.
    held, free = (bench.run(replace(SGD, steps=1, strategy=s)) for s in (CONSTRAINT, None))
    np.testing.assert_allclose(weights_of(held), weights_of(free), atol=1e-6)
    assert held.steps["task_loss"][0] == pytest.approx(free.steps["task_loss"][0], rel=1e-6)
    assert held.steps["token_weight"][0] == pytest.approx(1.0, abs=1e-5)
    tokens = held.start[TRAIN_TASK].token_count
    expected = sum((2 * np.log(2) / CONSTRAINT.betas(int(n))).sum() for n in tokens) / tokens.sum()
    assert held.steps["objective"][0] == pytest.approx(expected, rel=1e-5)
    assert held.result["objective"]["objective_start"] == pytest.approx(expected, rel=1e-9)


def test_a_step_is_a_step_on_the_definition(bench):
    # The second step, where the probabilities have moved; plain SGD, so it is the gradient.
    one, two = (bench.run(replace(SGD, steps=n)) for n in (1, 2))
    theta_s, policy = bench.load(), load_model(one.weights)
    losses, weights, cross_entropies = definition(policy, theta_s, bench.task)
    loss = losses.mean()
    assert two.steps["objective"][1] == pytest.approx(loss.item(), rel=1e-5)
    assert two.steps["constrained_loss"][1] == two.steps["objective"][1]
    assert two.steps["task_loss"][1] == pytest.approx(cross_entropies.mean().item(), rel=1e-5)
    assert two.steps["token_weight"][1] == pytest.approx(weights.mean().item(), rel=1e-5)
    assert weights.min() < 0.9  # it differs from plain training
    named = dict(policy.model.named_parameters())
    gradients = torch.autograd.grad(loss, list(named.values()), retain_graph=True)
    # The paper's own statement: the cross-entropy's gradient times the weight, held fixed.
    weighted = torch.autograd.grad(
        (weights.detach() * cross_entropies).mean(), list(named.values())
    )
    after = dict(two.model.model.named_parameters())
    for (name, p), g, w in zip(named.items(), gradients, weighted, strict=True):
        torch.testing.assert_close(g, w, rtol=1e-4, atol=1e-7, msg=name)
        torch.testing.assert_close(
            after[name], p.detach() - 0.05 * g, rtol=1e-4, atol=2e-6, msg=name
        )


@pytest.mark.parametrize("plan", [PLAN, LORA, PROMPT], ids=["full", "lora", "prompt"])
def test_the_objective_is_recorded_at_both_ends(bench, plan):
    run, theta_s = bench.run(plan), bench.load()
    reference = read_token_losses(run.folder / "reference" / "tokens.npz")
    with torch.no_grad():
        expected = plain_token_losses(theta_s, bench.task)
    for found, known in zip(reference, expected, strict=True):
        np.testing.assert_allclose(found, known.numpy(), rtol=1e-4, atol=1e-5)
    found = run.result["objective"]
    assert found["objective_end"] < found["objective_start"]
    assert found["task_end"] == pytest.approx(run.end[TRAIN_TASK].per_token)
    if plan is PLAN:
        with torch.no_grad():
            losses, _, _ = definition(run.model, theta_s, bench.task)
        assert found["objective_end"] == pytest.approx(losses.mean().item(), rel=1e-5)
    if plan is PROMPT:  # whose start is not theta_s
        assert found["objective_start"] > constrained_loss(CONSTRAINT, reference, reference) + 0.01


def test_tokens_are_held_the_tighter_the_larger_beta_is(bench):
    ends = [
        bench.run(replace(SGD, steps=12, strategy=strategy)).result["objective"]["task_end"]
        for strategy in (None, TokenConstraint(0.01), TokenConstraint(0.1), TokenConstraint(1.0))
    ]
    assert ends == sorted(ends)
    assert ends[1] == pytest.approx(ends[0], rel=0.05)
    assert ends[3] > ends[0] + 0.1


def test_the_cut_of_a_step_changes_nothing(bench):
    whole, cut = (bench.run(replace(LORA, gradient_accumulation=n)) for n in (1, 4))
    assert cut.steps["micro_batches"].tolist() == [4.0] * 6
    for column in ("task_loss", "constrained_loss", "token_weight", "grad_norm"):
        np.testing.assert_allclose(
            cut.steps[column], whole.steps[column], rtol=2e-4, atol=1e-6, err_msg=column
        )


def test_a_resumed_run_reads_its_reference(bench, monkeypatch, tmp_path):
    def interrupt(items, doing):
        for item in items:
            if doing == "fine-tuning" and item == 4:
                raise KeyboardInterrupt
            yield item

    plan, out = replace(LORA, checkpoint_every=2), tmp_path / "run"
    whole = bench.run(plan)
    with pytest.raises(KeyboardInterrupt):
        bench.run(plan, out=out, progress=interrupt)
    measured = []
    original = Evaluator.token_losses

    def counted(evaluator, name):
        measured.append(evaluator.trainer.state.global_step)
        return original(evaluator, name)

    monkeypatch.setattr(Evaluator, "token_losses", counted)
    resumed = bench.run(plan, out=out)
    assert measured == [6]  # the end's; the reference was there
    for column in ("task_loss", "objective", "token_weight", "displacement"):
        np.testing.assert_allclose(
            resumed.steps[column], whole.steps[column], rtol=1e-5, atol=1e-6, err_msg=column
        )
    assert resumed.result["objective"] == pytest.approx(whole.result["objective"], rel=1e-5)


def test_preferences_have_another_loss():
    with pytest.raises(InputError, match="the objective is dpo"):
        replace(PLAN, objective=Dpo())
