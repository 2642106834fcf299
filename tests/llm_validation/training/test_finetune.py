"""A run's folder: its record, its resumption, and everything it refuses."""

from __future__ import annotations

import errno
import json
import random
import shutil
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from finebound.base.errors import InputError
from llm_validation.data.dataset import Dataset
from llm_validation.data.encoding import encode
from llm_validation.measure.losses import measure_losses
from llm_validation.models.adapters import load_adapter
from llm_validation.models.loading import load_model
from llm_validation.training.methods import PTuning
from llm_validation.training.plan import FullWeights, Lora, TrainingPlan
from llm_validation.training.record import TRAIN_PROXY, TRAIN_TASK, read_run
from llm_validation.training.trainer import ConstraintTrainer
from theory.strategy import Hybrid, LossConstraint

LORA = Lora(rank=4, alpha=8)
PLAN = TrainingPlan(
    strategy=LossConstraint(lam=0.5),
    method=LORA,
    steps=8,
    learning_rate=5e-3,
    batch_size=3,
    checkpoint_every=3,
)


def losses_of(loaded, data):
    encoded = encode(data, loaded.tokenizer, max_length=512)
    return measure_losses(loaded.model, encoded, pad_id=loaded.tokenizer.pad_token_id)


@pytest.mark.parametrize("method", [LORA, FullWeights()])
def test_the_record_of_a_run(bench, method):
    theta_s = bench.load()
    before = {name: losses_of(theta_s, getattr(bench, name)) for name in ("task", "safety")}
    run = bench.run(replace(PLAN, method=method), model=theta_s)

    assert sorted(run.evaluations) == [0, 2, 4, 6, 8]
    assert set(run.start) == set(run.end) == {"safety", TRAIN_TASK, TRAIN_PROXY}
    assert set(run.evaluations[4]) == {"safety"}
    np.testing.assert_allclose(run.start["safety"].token_sum, before["safety"].token_sum)
    np.testing.assert_allclose(run.start[TRAIN_TASK].token_sum, before["task"].token_sum)
    np.testing.assert_allclose(
        run.end["safety"].token_sum, losses_of(run.model, bench.safety).token_sum
    )

    objective = run.result["objective"]
    for when, losses in (("start", run.start), ("end", run.end)):
        total = losses[TRAIN_TASK].per_token + 0.5 * losses[TRAIN_PROXY].per_token
        assert objective[f"objective_{when}"] == pytest.approx(total)
    assert objective["rise"] < 0  # it trained

    document = json.loads((run.folder / "run.json").read_text())
    assert document["status"] == "done"
    assert document["data"][TRAIN_PROXY]["rows_used"] == len(bench.proxy)
    assert document["manifest"]["given"]["steps"] == 8
    assert document["model"]["sha256"] == theta_s.sha256
    assert run.model.sha256 != theta_s.sha256
    assert not (run.folder / "checkpoints").exists()
    assert not [file for file in run.folder.rglob("*") if file.suffix in (".bin", ".pt", ".pth")]


@pytest.mark.parametrize("method", [LORA, FullWeights()])
def test_the_saved_weights_are_the_trained_ones(bench, method):
    run = bench.run(replace(PLAN, method=method))
    if method is LORA:
        again = load_adapter(bench.load().model, run.weights)
    else:
        again = load_model(run.weights).model
    loaded = replace(bench.load(), model=again)
    np.testing.assert_allclose(
        losses_of(loaded, bench.safety).token_sum, run.end["safety"].token_sum, rtol=1e-7
    )


@pytest.mark.parametrize("method", [LORA, FullWeights()])
def test_a_finished_run_is_read_and_not_made_again(bench, method, monkeypatch, weights_of):
    plan = replace(PLAN, method=method)
    run = bench.run(plan, out=bench.folder / "once")
    monkeypatch.setattr(ConstraintTrainer, "train", None)
    again = bench.run(plan, out=bench.folder / "once")
    assert again.result == json.loads(json.dumps(run.result))
    for name in run.steps:
        np.testing.assert_array_equal(again.steps[name], run.steps[name])
    np.testing.assert_array_equal(again.end["safety"].token_sum, run.end["safety"].token_sum)
    np.testing.assert_array_equal(weights_of(again), weights_of(run))
    assert again.plan.as_dict() == plan.as_dict()
    assert again.model.sha256 == run.model.sha256


KILLED = """
import os, signal, sys
sys.path.insert(0, {here!r})
from pathlib import Path
from conftest_of_training import Bench
import test_of_finetune as test

def kill_after_steps(items, doing):
    for item in items:
        if doing == "fine-tuning" and item == 7:
            os.kill(os.getpid(), signal.SIGKILL)
        yield item

bench = Bench(Path({model!r}), Path({folder!r}))
bench.run(test.KILLED_PLANS[{index}], out=Path({out!r}), progress=kill_after_steps)
"""
KILLED_PLANS = (
    replace(PLAN, steps=10, strategy=LossConstraint(epsilon=0.01), schedule="cosine"),
    replace(PLAN, steps=10, strategy=Hybrid(lam=0.5, radius=0.4), method=FullWeights()),
    replace(PLAN, steps=10, strategy=Hybrid(lam=0.5, radius=0.4), method=PTuning(tokens=4)),
)


@pytest.mark.slow
def test_a_killed_run_goes_on_on_the_same_trajectory(bench, weights_of, tmp_path):
    here = Path(__file__).parent
    modules = tmp_path / "modules"
    modules.mkdir()
    (modules / "conftest_of_training.py").symlink_to(here / "conftest.py")
    (modules / "test_of_finetune.py").symlink_to(here / "test_finetune.py")
    processes = []
    for index in range(len(KILLED_PLANS)):
        script = KILLED.format(
            here=str(modules),
            model=str(bench.model_folder),
            folder=str(tmp_path),
            index=index,
            out=str(tmp_path / f"killed-{index}"),
        )
        processes.append(
            subprocess.Popen(
                [sys.executable, "-c", textwrap.dedent(script)], stderr=subprocess.PIPE
            )
        )
    for process in processes:
        _, errors = process.communicate(timeout=180)
        assert process.returncode == -signal.SIGKILL, errors.decode()
    for index, plan in enumerate(KILLED_PLANS):
        out = tmp_path / f"killed-{index}"
        assert json.loads((out / "run.json").read_text())["status"] == "running"
        assert [p.name for p in sorted((out / "checkpoints").glob("checkpoint-*"))] == [
            "checkpoint-3",
            "checkpoint-6",
        ]
        whole, resumed = bench.run(plan), bench.run(plan, out=out)
        assert resumed.steps.keys() == whole.steps.keys()
        for name in whole.steps:
            np.testing.assert_allclose(
                resumed.steps[name], whole.steps[name], atol=1e-6, err_msg=name
            )
        for step, found in whole.evaluations.items():
            for name, losses in found.items():
                np.testing.assert_allclose(
                    resumed.evaluations[step][name].token_sum, losses.token_sum, rtol=1e-6
                )
        np.testing.assert_allclose(weights_of(resumed), weights_of(whole), atol=1e-6)
        assert resumed.result["displacement"]["end"] == pytest.approx(
            whole.result["displacement"]["end"], rel=1e-6
        )


def break_the_disk(monkeypatch, at_step: int, error: Exception) -> None:
    save = ConstraintTrainer._save_optimizer_and_scheduler

    def full(trainer, folder):
        if trainer.state.global_step == at_step:
            raise error
        save(trainer, folder)

    monkeypatch.setattr(ConstraintTrainer, "_save_optimizer_and_scheduler", full)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        RuntimeError("[enforce fail] PytorchStreamWriter failed writing file data/0"),
    ],
)
def test_a_disk_full_in_a_checkpoint_keeps_the_one_before(bench, monkeypatch, error):
    out = bench.folder / "full"
    with monkeypatch.context() as patched:
        break_the_disk(patched, 6, error)
        with pytest.raises(InputError, match=r"cannot be written.*Free some space"):
            bench.run(PLAN, out=out)
    kept = [path.name for path in (out / "checkpoints").iterdir()]
    assert kept == ["checkpoint-3"]
    assert json.loads((out / "run.json").read_text())["status"] == "failed"
    assert len(json.loads((out / "steps.json").read_text())["task_loss"]) == 6
    resumed, whole = bench.run(PLAN, out=out), bench.run(PLAN)
    np.testing.assert_allclose(resumed.steps["task_loss"], whole.steps["task_loss"], atol=1e-6)


def test_an_interrupted_run_is_cancelled_and_goes_on(bench):
    def interrupt(items, doing):
        for item in items:
            if doing == "fine-tuning" and item == 5:
                raise KeyboardInterrupt
            yield item

    out = bench.folder / "stopped"
    with pytest.raises(KeyboardInterrupt):
        bench.run(PLAN, out=out, progress=interrupt)
    assert json.loads((out / "run.json").read_text())["status"] == "cancelled"
    assert bench.run(PLAN, out=out).steps_done == 8


def test_a_folder_of_another_configuration_is_refused(bench):
    out = bench.folder / "taken"
    bench.run(PLAN, out=out)
    with pytest.raises(InputError, match=r"plan\.learning_rate \(0\.005 there, 0\.001 now\)"):
        bench.run(replace(PLAN, learning_rate=1e-3), out=out)
    with pytest.raises(InputError, match=r"what differs: task \("):
        bench.run(PLAN, out=out, task=bench.safety)
    assert read_run(out).steps_done == 8  # untouched


def test_a_folder_that_is_no_run_is_refused(bench):
    with pytest.raises(InputError, match="there is no run"):
        read_run(bench.folder)
    (bench.folder / "odd" / "checkpoints").mkdir(parents=True)
    with pytest.raises(InputError, match=r"no run\.json that says of what"):
        bench.run(PLAN, out=bench.folder / "odd")


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"proxy": None}, "loss constraint needs proxy safety data"),
        ({"task": Dataset.of([], name="task")}, "the task dataset has no rows"),
        ({"monitors": {"train/task": Dataset.of([("a", "b")], name="m")}}, "'train/task'"),
    ],
)
def test_bad_data_is_refused_before_anything_is_written(bench, change, names):
    out = bench.folder / "none"
    with pytest.raises(InputError, match=names):
        bench.run(PLAN, out=out, **change)
    assert not out.exists()


def test_a_proxy_that_would_be_ignored_is_refused(bench):
    with pytest.raises(InputError, match="the strategy does not use it"):
        bench.run(replace(PLAN, strategy=None), proxy=bench.proxy)


def test_a_row_longer_than_the_limit_is_refused_or_dropped(bench):
    long = Dataset.of([("a", "b"), ("a " * 60, "b")], name="long")
    short = replace(PLAN, max_length=60)
    with pytest.raises(InputError, match=r"long, row 2: The row has .* and the limit is 60"):
        bench.run(short, task=long)
    with pytest.warns(UserWarning, match="dropped 1 of 2 rows"):
        run = bench.run(replace(short, drop_long=True, steps=2), task=long)
    assert run.document["data"][TRAIN_TASK]["rows"] == 2
    assert run.document["data"][TRAIN_TASK]["rows_used"] == 1
    answers = Dataset.of([("a", "b"), ("a", "b " * 60)], name="long")
    with pytest.warns(UserWarning, match="cut 1 of 2 rows"):
        run = bench.run(replace(short, truncate=True, steps=2), task=answers)
    assert run.document["data"][TRAIN_TASK]["rows_used"] == 2
    with pytest.raises(InputError, match="max_length is 9999, and the model reads 512"):
        bench.run(replace(PLAN, max_length=9999))


def test_a_double_beginning_of_sequence_is_refused(bench):
    model = bench.load()
    model.tokenizer.chat_template = "{{ bos_token }}" + model.tokenizer.get_chat_template()
    with pytest.raises(InputError, match=r"task, row 1: The row begins with two <\|im_start\|>"):
        bench.run(PLAN, model=model)


def test_a_task_without_a_supervised_token_is_refused(bench):
    model = bench.load()
    model.tokenizer.chat_template = (
        "{% for m in messages %}{{ m['content'] + '<|im_end|>' }}"
        "{% generation %}{% endgeneration %}{% endfor %}"
    )
    with pytest.raises(InputError, match=r"task, row 1: .*no supervised token"):
        bench.run(PLAN, model=model)


def test_a_stop_token_outside_of_the_loss_is_refused(bench):
    model = bench.load()
    model.tokenizer.chat_template = (
        "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' }}"
        "{% if m['role'] == 'assistant' %}{% generation %}{{ m['content'] }}{% endgeneration %}"
        "{% else %}{{ m['content'] }}{% endif %}{{ '<|im_end|>' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    )
    with pytest.raises(InputError, match=r"task, row 1: .*stop token is not supervised"):
        bench.run(PLAN, model=model)


def test_a_target_that_the_model_lacks_is_refused(bench):
    with pytest.raises(InputError, match=r"no module called c_attn.*q_proj"):
        bench.run(replace(PLAN, method=Lora(targets=("c_attn",))))


def test_an_adapter_in_place_is_refused(bench):
    run = bench.run(PLAN)
    with pytest.raises(InputError, match="carries an adapter already"):
        bench.run(PLAN, model=run.model)


def test_an_adapter_with_a_missing_key_is_refused(bench):
    # Elsewhere: in its run's folder the run's record says that it was changed.
    copy = shutil.copytree(bench.run(PLAN).weights, bench.folder / "copy")
    file = copy / "adapter_model.safetensors"
    tensors = load_file(file)
    gone = sorted(tensors)[0]
    save_file({name: t for name, t in tensors.items() if name != gone}, file)
    with pytest.raises(InputError, match=r"1 of the adapter's keys are missing.*lora_A"):
        load_adapter(bench.load().model, copy)
    with pytest.raises(InputError, match="there is no adapter here"):
        load_adapter(bench.load().model, bench.folder)


def test_the_global_generators_are_left_alone(bench):
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    expected = random.random(), np.random.rand(), float(torch.rand(()))
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    bench.run(replace(PLAN, steps=2))
    assert (random.random(), np.random.rand(), float(torch.rand(()))) == expected


def test_the_seed_decides_the_run(bench):
    first, same = bench.run(PLAN), bench.run(PLAN)
    other = bench.run(replace(PLAN, seed=1))
    np.testing.assert_array_equal(first.steps["task_loss"], same.steps["task_loss"])
    assert (first.steps["task_loss"] != other.steps["task_loss"]).any()


def test_the_training_sets_can_be_measured_throughout(bench):
    run = bench.run(replace(PLAN, training_sets_at="all", evaluate_at=(0.5,)))
    assert {step: set(found) for step, found in run.evaluations.items()} == {
        step: {"safety", TRAIN_TASK, TRAIN_PROXY} for step in (0, 4, 8)
    }


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_visitor_sees_the_model_as_it_is_measured_and_changes_nothing(bench, precision):
    plan = replace(PLAN, precision=precision)
    seen = {}

    def visit(loaded, step):
        assert not loaded.model.training
        seen[step] = (loaded.sha256, losses_of(loaded, bench.safety))
        torch.rand(3), np.random.rand(3)

    visited, alone = bench.run(plan, visit=visit), bench.run(plan)
    assert sorted(seen) == [2, 4, 6]  # between start and end
    assert len({sha256 for sha256, _ in seen.values()} | {visited.model.sha256}) == 4
    for step, (_, losses) in seen.items():
        measured = visited.evaluations[step]["safety"].token_sum
        # Evaluations during a mixed-precision run are mixed, what is visited is not.
        rtol = 1e-6 if precision == "fp32" else 2e-2
        np.testing.assert_allclose(losses.token_sum, measured, rtol=rtol)
    for name in ("task_loss", "proxy_loss", "displacement"):
        np.testing.assert_array_equal(visited.steps[name], alone.steps[name])
    np.testing.assert_array_equal(visited.end["safety"].token_sum, alone.end["safety"].token_sum)


def test_the_steps_are_shown(bench):
    seen = []

    def watch(items, doing):
        for item in items:
            seen.append(doing)
            yield item

    bench.run(PLAN, progress=watch)
    assert seen.count("fine-tuning") == 8
    assert "measuring safety" in seen
