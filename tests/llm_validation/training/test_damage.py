"""What a run left is checked when it is read: cut, flipped or exchanged files change no number."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from transformers import TrainerControl, TrainerState

from finebound.base.errors import InputError
from finebound.base.integrity import Damaged
from llm_validation.training.callbacks import TimedCheckpointCallback
from llm_validation.training.checkpoints import checkpoints
from llm_validation.training.plan import Lora, TrainingPlan, plan_from_dict
from llm_validation.training.record import read_run
from llm_validation.training.trainer import ConstraintTrainer

PLAN = TrainingPlan(
    method=Lora(rank=4, alpha=8), steps=8, learning_rate=5e-3, batch_size=3, checkpoint_every=3
)


class Stopped(Exception):
    pass


def stopped_at(step):
    def progress(items, doing):
        for item in items:
            if doing == "fine-tuning" and item == step:
                raise Stopped
            yield item

    return progress


def flip(file, place=None):
    content = bytearray(file.read_bytes())
    content[len(content) // 2 if place is None else place] ^= 1
    file.write_bytes(content)


def cut(file):
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Runs that several tests begin with, by name; copied, never changed."""
    return {"folder": tmp_path_factory.mktemp("made")}


@pytest.fixture
def begun(bench, made):
    """A run that stopped after step 7, with the checkpoints of steps 3 and 6."""
    there = made["folder"] / "begun"
    if not there.exists():
        with pytest.raises(Stopped):
            bench.run(PLAN, out=there, progress=stopped_at(7))
    shutil.copytree(there, out := bench.folder / "begun")
    assert [c.name for c in checkpoints(out / "checkpoints")] == ["checkpoint-3", "checkpoint-6"]
    return out


@pytest.fixture
def whole(bench, made):
    """The same run, never stopped; its folder is not to be changed."""
    if "whole" not in made:
        made["whole"] = bench.run(PLAN, out=made["folder"] / "whole")
    return made["whole"]


@pytest.fixture
def done(bench, whole):
    """The finished run's folder, to be damaged."""
    return shutil.copytree(whole.folder, bench.folder / "done")


def same(one, other, weights_of):
    np.testing.assert_array_equal(weights_of(one), weights_of(other))
    assert sorted(one.evaluations) == sorted(other.evaluations)
    for step, found in one.evaluations.items():
        for name, losses in found.items():
            np.testing.assert_array_equal(losses.token_sum, other.evaluations[step][name].token_sum)


@pytest.mark.parametrize("damage", [cut, flip])
@pytest.mark.parametrize(
    "name", ["adapter_model.safetensors", "optimizer.pt", "trainer_state.json", "hashes.json"]
)
def test_a_damaged_checkpoint_is_left_for_the_one_before(
    bench, begun, whole, weights_of, capsys, name, damage
):
    damage(begun / "checkpoints" / "checkpoint-6" / name)
    again = bench.run(PLAN, out=begun)
    told = capsys.readouterr().err
    assert "checkpoint-6" in told
    assert "goes on at checkpoint-3" in told
    same(again, whole, weights_of)


def test_of_two_damaged_checkpoints_the_run_starts_anew(bench, begun, whole, weights_of, capsys):
    for step in (3, 6):
        cut(begun / "checkpoints" / f"checkpoint-{step}" / "adapter_model.safetensors")
    again = bench.run(PLAN, out=begun)
    assert "goes on from its start" in capsys.readouterr().err
    same(again, whole, weights_of)


def test_another_runs_checkpoint_is_not_gone_on_with(bench, begun, whole, weights_of, capsys):
    other = bench.folder / "other"
    with pytest.raises(Stopped):
        bench.run(replace(PLAN, seed=1), out=other, progress=stopped_at(7))
    shutil.rmtree(begun / "checkpoints" / "checkpoint-6")
    shutil.copytree(other / "checkpoints" / "checkpoint-6", begun / "checkpoints" / "checkpoint-6")
    again = bench.run(PLAN, out=begun)
    assert "checkpoint-6: it is another run's" in capsys.readouterr().err
    same(again, whole, weights_of)


@pytest.mark.parametrize(
    "name", ["adapter_model.safetensors", "optimizer.pt", "trainer_state.json"]
)
def test_a_cut_checkpoint_without_hashes_is_noticed_too(
    bench, begun, whole, weights_of, capsys, name
):
    for step in (3, 6):
        (begun / "checkpoints" / f"checkpoint-{step}" / "hashes.json").unlink()
    cut(begun / "checkpoints" / "checkpoint-6" / name)
    again = bench.run(PLAN, out=begun)
    assert f"{name} cannot be read; the run goes on at checkpoint-3" in capsys.readouterr().err
    same(again, whole, weights_of)


@pytest.mark.parametrize("damage", [cut, flip])
def test_a_damaged_evaluation_of_a_run_in_progress_begins_it_anew(
    bench, begun, whole, weights_of, capsys, damage
):
    damage(begun / "evaluations" / "step-000002.npz")
    again = bench.run(PLAN, out=begun)
    assert "evaluations/step-000002.npz is not the file that was written" in capsys.readouterr().err
    same(again, whole, weights_of)


@pytest.mark.parametrize("damage", [cut, flip])
@pytest.mark.parametrize(
    "name", ["adapter/adapter_model.safetensors", "steps.json", "evaluations/step-000008.npz"]
)
def test_a_damaged_file_of_a_finished_run_is_named_and_the_run_made_again(
    bench, done, whole, weights_of, capsys, name, damage
):
    damage(done / name)
    with pytest.raises(Damaged, match=f"{name}: is not the file that was written: damaged"):
        read_run(done)
    again = bench.run(PLAN, out=done)
    assert f"{name} is not the file" in capsys.readouterr().err
    same(again, whole, weights_of)
    read_run(done)


def test_another_runs_evaluation_is_named(bench, done):
    other = bench.run(replace(PLAN, seed=1))
    shutil.copy(other.folder / "evaluations/step-000008.npz", done / "evaluations")
    with pytest.raises(Damaged, match=r"step-000008\.npz"):
        read_run(done)


def test_one_digit_in_a_runs_record_is_noticed(done):
    file = done / "run.json"
    content = json.loads(file.read_text())
    content["result"]["displacement"]["end"] *= 1.5
    file.write_text(json.dumps(content))
    with pytest.raises(Damaged, match=r"run\.json: is not as it was written"):
        read_run(done)


@pytest.mark.parametrize("name", ["steps.json", "evaluations/step-000004.npz", "run.json"])
def test_a_cut_file_of_a_run_without_hashes_is_one_paragraph(done, whole, name):
    file = done / "run.json"
    content = json.loads(file.read_text())
    del content["files"], content["content_sha256"]
    file.write_text(json.dumps(content))
    np.testing.assert_array_equal(
        read_run(done).end["safety"].token_sum, whole.end["safety"].token_sum
    )
    cut(done / name)
    with pytest.raises(InputError, match=name):
        read_run(done)


def test_a_run_saves_by_the_clock_and_goes_on_from_there(bench, whole, weights_of, monkeypatch):
    saved = []
    save = ConstraintTrainer._save_checkpoint
    monkeypatch.setattr(
        ConstraintTrainer,
        "_save_checkpoint",
        lambda self, *args: (saved.append(self.state.global_step), save(self, *args)),
    )
    by_time = replace(PLAN, checkpoint_every=0, checkpoint_seconds=1e-9)
    out = bench.folder / "timed"
    with monkeypatch.context() as m:
        m.setattr("llm_validation.training.callbacks._LEAST_WORK", 0.0)
        with pytest.raises(Stopped):
            bench.run(by_time, out=out, progress=stopped_at(5))
        assert saved == [1, 2, 3, 4]
        again = bench.run(by_time, out=out)
    assert saved[4:] == [5, 6, 7]
    same(again, whole, weights_of)


def test_a_minute_apart_or_twenty_times_what_a_save_takes():
    now = 0.0
    callback = TimedCheckpointCallback(60.0, clock=lambda: now)
    args, state = SimpleNamespace(world_size=1), TrainerState(max_steps=1000)

    def asks(at):
        nonlocal now
        now, control = at, TrainerControl()
        callback.on_step_end(args, state, control)
        return control.should_save

    callback.on_train_begin(args, state, TrainerControl())
    assert [asks(at) for at in (1.0, 59.0, 60.0)] == [False, False, True]
    now = 61.0
    callback.on_save(args, state, TrainerControl())
    assert [asks(at) for at in (120.0, 121.0)] == [False, True]
    now = 131.0  # this save took ten seconds
    callback.on_save(args, state, TrainerControl())
    assert [asks(at) for at in (330.0, 331.0)] == [False, True]
    state.global_step = state.max_steps
    assert not asks(1e6)


def test_the_interval_is_no_part_of_a_plan_unless_it_is_given():
    assert "checkpoint_seconds" not in TrainingPlan().as_dict()
    given = replace(PLAN, checkpoint_seconds=0.0)
    assert plan_from_dict(given.as_dict()) == given
    with pytest.raises(InputError, match="checkpoint_seconds is -1"):
        TrainingPlan(checkpoint_seconds=-1)
