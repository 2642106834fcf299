"""A finished experiment's files are checked on reading: named and refused, or made again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from unsealed import unsealed

from finebound.base.errors import InputError
from finebound.base.integrity import Damaged
from finebound.cli import main
from finebound.results.experiment import ExperimentResult
from finebound.results.run import RunResult
from finebound.views import run as run_view
from llm_validation.experiments.answers import read_answers
from llm_validation.experiments.config import expand, experiment_of
from llm_validation.experiments.landscape import read_side
from llm_validation.experiments.prepare import read_prepared
from llm_validation.experiments.run import is_done, read_measured
from llm_validation.experiments.validation import validate

RUN = "general_none_lora_s0"
OTHER = "general_parameter-r0.05_lora_s0"


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.fixture
def out(finished, tmp_path):
    return shutil.copytree(finished.prepared.out, tmp_path / "out")


@pytest.fixture
def experiment(content):
    return experiment_of(content)


def run_page(out):
    return run_view.page(RunResult.load(out / "runs" / RUN))


def prepared_of(experiment, out):
    prepared = read_prepared(experiment, out)
    return prepared, next(run for run in expand(experiment) if run.id == RUN)


OF_A_RUN = (
    "adapter/adapter_model.safetensors",
    "steps.json",
    "run.json",
    "record.json",
    "answers.jsonl",
    "evaluations/step-000004.npz",
    "after/step-000004.npz",
)


@pytest.mark.parametrize("damage", [cut, flip, Path.unlink])
@pytest.mark.parametrize("name", OF_A_RUN)
def test_a_damaged_file_of_a_run_is_named_and_the_run_is_not_done(
    experiment, out, capsys, name, damage
):
    prepared, run = prepared_of(experiment, out)
    assert is_done(run, prepared)
    damage(out / "runs" / RUN / name)
    assert not is_done(run, prepared)
    if name != "record.json" or damage is not Path.unlink:
        assert name in capsys.readouterr().err
        with pytest.raises(Damaged, match=name.rpartition("/")[2]):
            read_measured(run, prepared)


@pytest.mark.parametrize("name", OF_A_RUN[:-1])
def test_another_runs_file_is_named(experiment, out, name):
    prepared, run = prepared_of(experiment, out)
    shutil.copyfile(out / "runs" / OTHER / name, out / "runs" / RUN / name)
    with pytest.raises(InputError, match=name.rpartition("/")[2]):
        read_measured(run, prepared)


@pytest.mark.parametrize(
    "name", ["start/step-000000.npz", "answers/aligned.jsonl", "prepared.json"]
)
def test_what_all_runs_share_is_checked(experiment, out, name):
    flip(out / name)
    with pytest.raises(Damaged, match=name):
        read_prepared(experiment, out)


def test_a_damaged_landscape_is_refused_by_whoever_reads_it(experiment, out):
    prepared, run = prepared_of(experiment, out)
    for file in (out / "landscape").iterdir():
        flip(file)
    with pytest.raises(Damaged, match="landscape"):
        read_side(prepared, run.task, run.proxy, run.method)


def test_what_is_damaged_is_made_again_with_equal_numbers(finished, experiment, out, capsys):
    before = json.loads((out / "validate.json").read_text())
    cut(out / "runs" / RUN / "adapter" / "adapter_model.safetensors")
    flip(out / "start" / "step-000000.npz")
    cut(next((out / "landscape").iterdir()))
    (out / "runs" / OTHER / "attempts.json").write_text("[3")
    cache = finished.prepared.out.parent / "cache"
    again = validate(experiment, out, cache=cache)
    told = capsys.readouterr().err
    for what in ("adapter_model.safetensors", "step-000000.npz", "landscape/", "attempts.json"):
        assert what in told
    assert again.passed == finished.result.passed
    after = json.loads((out / "validate.json").read_text())
    for name in ("bounds", "findings", "splits", "sets"):
        assert after[name] == before[name]
    for one, other in zip(after["runs"], before["runs"], strict=True):
        assert {**one, "attempts": 0} == {**other, "attempts": 0}


def test_a_folder_without_hashes_is_read_with_a_word(experiment, out, capsys):
    sealed = run_page(out)
    unsealed(out)
    prepared, run = prepared_of(experiment, out)
    read_measured(run, prepared)
    assert "runs made before files had hashes" in capsys.readouterr().err
    assert run_page(out) == sealed
    ExperimentResult.load(out)


@pytest.mark.parametrize("name", ["validate.json", "comparison.json"])
def test_pages_of_damaged_records_are_refused(out, name):
    flip(out / name)
    with pytest.raises(InputError, match=name):
        run_page(out)


def test_an_old_record_that_lacks_an_entry_is_one_paragraph(out):
    unsealed(out)
    file = out / "validate.json"
    content = json.loads(file.read_text())
    del content["runs"][0]["safety_interval"]
    file.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"runs\.0\.done\.safety_interval: Field required"):
        ExperimentResult.load(out)


GOOD = {"prompt": "a", "category": None, "text": "b", "label": "refusal"}


@pytest.mark.parametrize(
    "line",
    [
        json.dumps(GOOD)[:-9],
        "3",
        json.dumps({"prompt": "a"}),
        json.dumps({**GOOD, "prompt": 1}),
        json.dumps({**GOOD, "label": "maybe"}),
    ],
)
def test_an_answer_that_is_none_is_named_by_its_row(tmp_path, line):
    file = tmp_path / "answers.jsonl"
    file.write_text(f"{json.dumps(GOOD)}\n{line}\n")
    with pytest.raises(Damaged, match=r"answers\.jsonl, row 2"):
        read_answers(file)


def of_the_other_run(file: Path) -> None:
    shutil.copyfile(Path(str(file).replace(RUN, OTHER)), file)


def other_base(file: Path) -> None:
    content = file.read_text()
    at = content.index('"', content.index("sha256") + 10) - 1
    file.write_text(content[:at] + ("0" if content[at] != "0" else "1") + content[at + 1 :])


@pytest.mark.parametrize(
    ("name", "change"),
    [("adapter_model.safetensors", of_the_other_run), ("base_model.json", other_base)],
)
def test_an_adapter_that_is_not_its_runs_own_is_not_evaluated(finished, out, capsys, name, change):
    change(out / "runs" / RUN / "adapter" / name)
    code = main(
        ["evaluate", "loss", "--data", "builtin:safety", "--model", str(finished.prepared.aligned),
         "--adapter", str(out / "runs" / RUN / "adapter")]
    )  # fmt: skip
    assert code == 2
    assert f"{name}: is not the file that was written" in capsys.readouterr().err
