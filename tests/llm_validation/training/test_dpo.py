"""DPO's loss against its definition, its reference, and every method's margin."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from finebound.base.errors import InputError
from llm_validation.data.dataset import Dataset, Example
from llm_validation.data.encoding import encode
from llm_validation.models.loading import load_model
from llm_validation.training.dpo import encode_pairs, log_ratio, preference_losses
from llm_validation.training.methods import IA3, FullWeights, Lora, PromptTuning, PTuning, QLora
from llm_validation.training.plan import Dpo, TrainingPlan, plan_from_dict
from llm_validation.training.record import TRAIN_PROXY, TRAIN_REJECTED, TRAIN_TASK
from theory.strategy import Hybrid, LossConstraint, ParameterConstraint

BETA = 0.2
PLAN = TrainingPlan(
    objective=Dpo(BETA),
    method=FullWeights(),
    steps=6,
    learning_rate=3e-3,
    batch_size=4,
    checkpoint_every=0,
    evaluate_at=(),
)
PLANS = {
    "full": PLAN,
    "lora": replace(PLAN, method=Lora(rank=4, alpha=8), learning_rate=2e-2),
    "qlora": replace(PLAN, method=QLora(rank=4, alpha=8), learning_rate=2e-2),
    "ia3": replace(PLAN, method=IA3(), learning_rate=5e-2),
    "prompt": replace(PLAN, method=PromptTuning(tokens=5), learning_rate=5e-2),
    "p-tuning": replace(PLAN, method=PTuning(tokens=5), learning_rate=2e-2),
}


@pytest.fixture(scope="module")
def run_of(shared_bench):
    """The finished run of a plan by name; each is made once."""
    runs = {}

    def run(name):
        if name not in runs:
            runs[name] = shared_bench.run(PLANS[name])
        return runs[name]

    return run


def log_probabilities(model, tokenizer, examples) -> torch.Tensor:
    """Log-probability ``[n]`` of each answer, from transformers' plain logits."""
    found = []
    for row in encode(Dataset.of(examples, name="rows"), tokenizer, max_length=512):
        ids = torch.from_numpy(row.input_ids.astype(np.int64))
        logs = model(input_ids=ids[None]).logits[0, :-1].double().log_softmax(-1)
        taken = logs.gather(1, ids[1:, None])[:, 0]
        found.append(taken[torch.from_numpy(row.supervised[1:])].sum())
    return torch.stack(found)


def definition(policy, reference, tokenizer, data) -> tuple[torch.Tensor, torch.Tensor]:
    """Rafailov et al. (2023), equation 7, of every pair: loss and margin."""
    chosen = data.examples
    rejected = [replace(e, response=e.rejected, rejected=None) for e in data.examples]

    def ratio(model):
        return log_probabilities(model, tokenizer, chosen) - log_probabilities(
            model, tokenizer, rejected
        )

    with torch.no_grad():
        fixed = ratio(reference)
    margin = ratio(policy) - fixed
    return -torch.nn.functional.logsigmoid(BETA * margin), margin


def test_the_recorded_loss_is_the_definitions(shared_bench, run_of):
    run, theta_s = run_of("full"), shared_bench.load()
    assert run.result["objective"]["task_start"] == pytest.approx(np.log(2), rel=1e-9)
    assert run.steps["task_loss"][0] == pytest.approx(np.log(2), rel=1e-5)
    with torch.no_grad():
        losses, margins = definition(
            run.model.model, theta_s.model, theta_s.tokenizer, shared_bench.task
        )
    found = run.result["objective"]
    assert found["task_end"] == pytest.approx(float(losses.mean()), rel=1e-5)
    assert found["margin_end"] == pytest.approx(float(margins.mean()), rel=1e-5)
    assert found["preferred_end"] == float((margins > 0).double().mean())


def test_a_step_is_a_step_on_the_definition(shared_bench):
    # The second step, where the margins are no longer zero; plain SGD, so it is the gradient.
    plan = replace(PLAN, optimizer="sgd", learning_rate=0.05, clip=None, batch_size=11)
    one, two = (shared_bench.run(replace(plan, steps=n)) for n in (1, 2))
    theta_s, policy = shared_bench.load(), load_model(one.weights)
    losses, margins = definition(policy.model, theta_s.model, theta_s.tokenizer, shared_bench.task)
    loss, margin = losses.mean(), float(margins.detach().mean())
    assert two.steps["task_loss"][1] == pytest.approx(loss.item(), rel=1e-5)
    assert two.steps["margin"][1] == pytest.approx(margin, rel=1e-4)
    assert two.steps["preferred"][1] == float((margins > 0).double().mean())
    chosen = one.end[TRAIN_TASK].per_token
    assert two.steps["chosen_loss"][1] == pytest.approx(chosen, rel=1e-5)
    loss.backward()
    after = dict(two.model.model.named_parameters())
    for name, p in policy.model.named_parameters():
        torch.testing.assert_close(
            after[name], p.detach() - 0.05 * p.grad, rtol=1e-4, atol=2e-6, msg=name
        )


@pytest.mark.parametrize("name", PLANS)
def test_every_method_learns_the_preference(run_of, name):
    run = run_of(name)
    found = run.result["objective"]
    assert found["task_end"] < found["task_start"] - 0.01
    assert found["margin_end"] > found["margin_start"] + 0.1
    assert 0 < run.result["displacement"]["end"] <= run.result["optimiser_budget"]["weights_radius"]
    assert set(run.start) == {"safety", TRAIN_TASK, TRAIN_REJECTED}


@pytest.mark.parametrize("name", PLANS)
def test_the_reference_is_the_model_without_its_adapter(shared_bench, run_of, name):
    run, found = run_of(name), run_of(name).result["objective"]
    assert (found["margin_start"] == 0.0) is (name not in ("prompt", "p-tuning"))
    margins = log_ratio(run.end[TRAIN_TASK], run.end[TRAIN_REJECTED]) - log_ratio(
        run.reference[TRAIN_TASK], run.reference[TRAIN_REJECTED]
    )
    assert found["margin_end"] == pytest.approx(margins.mean())
    assert found["task_end"] == pytest.approx(preference_losses(margins, BETA).mean())
    theta_s = shared_bench.load()
    if name != "qlora":  # whose reference is quantised
        with torch.no_grad():
            expected = log_probabilities(
                theta_s.model, theta_s.tokenizer, shared_bench.task.examples
            )
        np.testing.assert_allclose(-run.reference[TRAIN_TASK].token_sum, expected, rtol=1e-5)


@pytest.mark.parametrize("name", ["full", "prompt"])
def test_the_cut_of_a_step_changes_nothing(shared_bench, name):
    plan = replace(PLANS[name], strategy=LossConstraint(lam=0.5))
    whole, cut = (shared_bench.run(replace(plan, gradient_accumulation=n)) for n in (1, 8))
    assert cut.steps["micro_batches"].tolist() == [8.0] * 6
    # Before the first step the margin is 0 up to rounding, and who is preferred is chance.
    told = np.abs(whole.steps["margin"]) > 1e-5
    for column in ("task_loss", "proxy_loss", "margin", "preferred", "chosen_loss", "grad_norm"):
        rows = told if column == "preferred" else slice(None)
        np.testing.assert_allclose(
            cut.steps[column][rows],
            whole.steps[column][rows],
            rtol=2e-4,
            atol=1e-6,
            err_msg=column,
        )
    assert told.sum() >= 5


@pytest.mark.parametrize(
    "strategy", [LossConstraint(epsilon=0.1), Hybrid(lam=0.5, radius=0.1), ParameterConstraint(0.1)]
)
def test_every_strategy_holds_with_dpo(shared_bench, strategy):
    run = shared_bench.run(replace(PLAN, strategy=strategy))
    if getattr(strategy, "radius", None):
        assert (run.steps["displacement"] <= 0.1).all()
    if run.plan.needs_proxy_rows:
        objective, lam = run.result["objective"], run.result["objective"]["lam"]
        proxy = run.end[TRAIN_PROXY].per_token
        assert objective["objective_end"] == pytest.approx(objective["task_end"] + lam * proxy)
        assert np.isfinite(run.steps["proxy_loss"]).all()


@pytest.mark.parametrize("name", ["full", "p-tuning"])
def test_a_resumed_run_keeps_its_reference(shared_bench, run_of, name, tmp_path):
    def interrupt(items, doing):
        for item in items:
            if doing == "fine-tuning" and item == 5:
                raise KeyboardInterrupt
            yield item

    out, plan = tmp_path / "run", replace(PLANS[name], checkpoint_every=2)
    with pytest.raises(KeyboardInterrupt):
        shared_bench.run(plan, out=out, progress=interrupt)
    resumed, whole = shared_bench.run(plan, out=out), run_of(name)
    for column in ("task_loss", "margin", "displacement"):
        np.testing.assert_allclose(
            resumed.steps[column], whole.steps[column], rtol=1e-4, atol=1e-6, err_msg=column
        )
    assert resumed.result["objective"] == pytest.approx(whole.result["objective"], rel=1e-4)


def test_saturated_margins_stay_finite():
    margins = np.array([-1e5, 0.0, 1e5])
    np.testing.assert_allclose(
        preference_losses(margins, 0.1), [1e4, np.log(2), 0.0], rtol=1e-12, atol=1e-300
    )


def pair(prompt, response, rejected, row):
    return replace(
        Example.single_turn(prompt, response), rejected=rejected, origin=("pairs.jsonl", row)
    )


@pytest.mark.parametrize(
    ("rejected", "names"),
    [
        (("c", None), r"pairs.jsonl, row 2: The row has no rejected answer.*objective sft"),
        (("c", ""), r"pairs.jsonl, row 2: The row has no rejected answer"),
        (("b", "b"), "the chosen answer is the rejected one"),
    ],
)
def test_rows_that_are_no_pairs_are_refused(shared_bench, rejected, names):
    data = Dataset.of([pair("a", "b", r, i + 1) for i, r in enumerate(rejected)], name="pairs")
    out = shared_bench.folder / "nothing"
    with pytest.raises(InputError, match=names):
        shared_bench.run(PLAN, task=data, out=out)
    assert not (out / "run.json").exists()


def test_a_pair_with_one_long_answer_goes_as_a_whole(shared_bench):
    long = "a " * 40
    rows = [pair("a", "b", "c", 1), pair("a", long, "c", 2), pair("a", "b", long, 3)]
    plan = replace(PLAN, max_length=60, steps=1)
    with pytest.raises(InputError, match=r"pairs.jsonl, row 2: The row has .* the limit is 60"):
        shared_bench.run(plan, task=Dataset.of(rows, name="pairs"))
    with pytest.warns(UserWarning, match="dropped 1 of 3 rows"):
        run = shared_bench.run(replace(plan, drop_long=True), task=Dataset.of(rows, name="pairs"))
    assert run.document["data"][TRAIN_TASK]["rows_used"] == 1
    assert run.document["data"][TRAIN_REJECTED]["rows_used"] == 1
    with (
        pytest.warns(UserWarning, match="dropped"),
        pytest.raises(InputError, match="of every pair one answer is too long"),
    ):
        shared_bench.run(replace(plan, drop_long=True), task=Dataset.of(rows[1:], name="pairs"))


def test_of_a_dialogue_only_the_last_answers_are_a_pair(tiny_model):
    turns = (("user", "a"), ("assistant", "the red ant"), ("user", "b"))
    thought = ((len(turns), '{"reasoning_content": "hm"}'),)
    row = Example("a\nthe red ant\nb", "in a house", turns, rejected="no", turn_fields=thought)
    data = Dataset.of([row], name="pairs")
    (chosen,), beside, (rejected,) = encode_pairs(data, tiny_model, PLAN)
    said = tiny_model.tokenizer.decode
    assert said(chosen.input_ids[chosen.supervised]).startswith("in a house")
    assert said(rejected.input_ids[rejected.supervised]).startswith("no")
    assert beside.examples[0].turn_fields == ()


@pytest.mark.parametrize(
    ("objective", "names"),
    [
        ({"kind": "dpo", "beta": 0.0}, "beta is 0.0"),
        ({"kind": "dpo", "label_smoothing": 0.1}, "label_smoothing"),
        ({"kind": "sft", "beta": 0.1}, "beta is given with the objective sft"),
        ({"kind": "ppo"}, "no objective 'ppo'.*Use sft or dpo"),
    ],
)
def test_a_wrong_objective_is_refused(objective, names):
    with pytest.raises(InputError, match=names):
        plan_from_dict({"objective": objective})
