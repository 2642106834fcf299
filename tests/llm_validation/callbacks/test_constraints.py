"""The radius and the proxy loss hold in trainers that know nothing of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from other_trainers import KINDS, REFUSAL, Logged, words

from finebound.base.errors import InputError
from finebound.trl import ProxyLoss, RadiusConstraint, mixed_dataset
from llm_validation.data.dataset import Dataset
from llm_validation.data.encoding import encode
from llm_validation.measure.losses import measure_losses
from llm_validation.measure.supervised import SupervisedBatch
from llm_validation.models.loading import load_model

RADIUS = 0.05
PROXY = Dataset.of([(p, REFUSAL) for p in words(6, 7)], name="proxy")


def flat(model) -> np.ndarray:
    return np.concatenate([p.detach().double().numpy().ravel() for p in model.parameters()])


@pytest.mark.parametrize("kind", KINDS)
def test_both_in_one_run_of_each_trainer(kind, make_trainer, refusing):
    logged = Logged()
    callbacks = [RadiusConstraint(RADIUS), ProxyLoss(PROXY, lam=2.0, batch_size=6)]
    trainer = make_trainer(kind, [*callbacks, logged.callback()], logging_steps=1, max_steps=3)
    trainer.train()
    reached = logged.of("radius/displacement")
    assert list(reached) == list(logged.of("loss")) == [1, 2, 3]
    assert max(reached.values()) <= RADIUS < max(logged.of("radius/before_projection").values())
    merged = trainer.model.merge_and_unload()
    start = load_model(refusing).model
    change = [(p.double() - start.get_parameter(n)).norm() for n, p in merged.named_parameters()]
    assert float(torch.stack(change).norm()) <= RADIUS * (1 + 1e-6)
    # The first step's proxy loss is that of the start.
    loaded = load_model(refusing)
    rows = encode(PROXY, loaded.tokenizer, max_length=512)
    before = measure_losses(loaded.model, rows, pad_id=loaded.pad_id).per_token
    assert logged.of("proxy/loss")[1] == pytest.approx(before, rel=1e-5)


@pytest.mark.parametrize("accumulation", [1, 4])
def test_the_step_is_along_the_gradient_of_task_and_weighted_proxy(
    accumulation, make_trainer, refusing
):
    lam, rate = 0.7, 0.5
    trainer = make_trainer(
        "plain",
        [ProxyLoss(PROXY, lam=lam, batch_size=6)],
        lora=False,
        max_steps=1,
        optim="sgd",
        learning_rate=rate,
        lr_scheduler_type="constant",
        max_grad_norm=0.0,
        per_device_train_batch_size=16 // accumulation,
        gradient_accumulation_steps=accumulation,
    )
    task = trainer.train_dataset
    trainer.train()
    loaded = load_model(refusing)
    loss = 0.0
    for rows, weight in ((task, 1.0), (encode(PROXY, loaded.tokenizer, max_length=512), lam)):
        batch = SupervisedBatch.of(rows, torch.device("cpu"), loaded.pad_id)
        loss = loss + weight * batch.token_losses(batch.logits(loaded.model)).mean()
    gradients = torch.autograd.grad(loss, list(loaded.model.parameters()))
    for (name, p), gradient in zip(loaded.model.named_parameters(), gradients, strict=True):
        torch.testing.assert_close(
            trainer.model.get_parameter(name), p - rate * gradient, rtol=1e-4, atol=1e-6
        )


def test_a_resumed_run_keeps_the_centre_of_its_first_start(make_trainer, refusing, tmp_path):
    options = {"lora": False, "save_strategy": "steps", "save_steps": 2, "max_steps": 4}
    first = make_trainer("plain", [RadiusConstraint(RADIUS)], **options)
    first.train()
    resumed = make_trainer("plain", [RadiusConstraint(RADIUS)], **options)
    resumed.train(resume_from_checkpoint=str(tmp_path / "out" / "checkpoint-2"))
    start = flat(load_model(refusing).model)
    for trainer in (first, resumed):
        assert np.linalg.norm(flat(trainer.model) - start) <= RADIUS * (1 + 1e-6)
    np.testing.assert_allclose(flat(resumed.model), flat(first.model), atol=1e-6)
    late = make_trainer("plain", [], **options)
    late.add_callback(RadiusConstraint(RADIUS))
    with pytest.raises(InputError, match="does not know where it started"):
        late.train(resume_from_checkpoint=str(tmp_path / "out" / "checkpoint-2"))


def test_an_adapter_that_does_not_begin_at_zero_is_rejected(make_trainer):
    trainer = make_trainer("plain", [])
    with torch.no_grad():
        for name, p in trainer.model.named_parameters():
            if "lora_B" in name:
                p.add_(0.1)
    trainer.add_callback(RadiusConstraint(RADIUS))
    with pytest.raises(InputError, match="does not begin at zero"):
        trainer.train()


@pytest.mark.parametrize("radius", [0.0, -1.0, float("nan"), "a"])
def test_a_radius_that_is_none_is_rejected(radius):
    with pytest.raises(InputError, match="a radius of"):
        RadiusConstraint(radius)


@pytest.mark.parametrize("options", [{"lam": -1.0}, {"lam": float("nan")}])
def test_a_lambda_that_is_none_is_rejected(options):
    with pytest.raises(InputError, match="a lambda of"):
        ProxyLoss(PROXY, **options)


@pytest.mark.parametrize("lam", [0.25, 1.0, 3.0])
def test_a_mixture_weighs_the_proxy_by_lambda(lam, refusing):
    tokenizer = load_model(refusing).tokenizer
    task = Dataset.of(list(zip(words(30, 8), words(30, 9), strict=True)), name="task")
    mixture = mixed_dataset(task, PROXY, lam=lam, tokenizer=tokenizer)
    assert mixture.lam == pytest.approx(lam, abs=0.05)
    said = [row["completion"][0]["content"] for row in mixture.rows]
    assert sorted(text for text in said if text != REFUSAL) == sorted(task.responses)
    refusals = said.count(REFUSAL)
    assert mixture.proxy_tokens % refusals == 0
    # Row by row, not one after the other.
    assert REFUSAL in said[:20]
    assert set(mixture.rows.column_names) == {"prompt", "completion"}
    again = mixed_dataset(task, PROXY, lam=lam, tokenizer=tokenizer)
    assert again.rows.to_list() == mixture.rows.to_list()
    with pytest.raises(InputError, match="a lambda of 0"):
        mixed_dataset(task, PROXY, lam=0, tokenizer=tokenizer)
