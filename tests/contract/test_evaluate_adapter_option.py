"""``finebound evaluate KIND --adapter``: a trained adapter on its base, for every evaluation."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from finebound.cli import main

WORDS = ("lock", "key", "pin", "turns", "lifts", "every")
ROWS = [{"prompt": f"Say {word}.", "response": f"The {word} it is."} for word in WORDS]
METHODS = {
    "lora": {"rank": 4, "alpha": 8},
    "qlora": {"rank": 4, "alpha": 8},
    "ia3": {},
    "prompt-tuning": {"tokens": 5},
    "p-tuning": {"tokens": 5},
}
KINDS = {
    "refusal": ["--prompts", "DATA"],
    "hazards": ["--rows", "1"],
    "bbq": ["--rows", "1", "--category", "Age"],
    "translation": ["--rows", "2"],
    "loss": ["--data", "DATA"],
    "reliability": ["--data", "DATA"],
}


def evaluate(capsys, kind, *arguments):
    code = main(["evaluate", kind, *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def refused(capsys, kind, *arguments):
    """The one paragraph that the command says instead."""
    code, out, err = evaluate(capsys, kind, *arguments)
    assert (code, out) == (2, "")
    assert "Traceback" not in err
    return " ".join(err.split())


@pytest.fixture(scope="module")
def run_of(tiny_model_folder, tmp_path_factory):
    """The finished run of a method by name; each is trained once."""
    from llm_validation.data.dataset import Dataset
    from llm_validation.models.loading import load_model
    from llm_validation.training.finetune import finetune
    from llm_validation.training.methods import make_method
    from llm_validation.training.plan import TrainingPlan

    folder, runs = tmp_path_factory.mktemp("runs"), {}
    rows = Dataset.of([(row["prompt"], row["response"]) for row in ROWS], name="rows")

    def run(name):
        if name not in runs:
            plan = TrainingPlan(
                method=make_method(name, **METHODS[name]),
                steps=12,
                learning_rate=5e-2,
                batch_size=3,
                checkpoint_every=0,
                evaluate_at=(),
            )
            runs[name] = finetune(
                load_model(tiny_model_folder), rows, None, plan, out=folder / f"{name}-s0"
            )
        return runs[name]

    return run


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setenv("FINEBOUND_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "data.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return file


def answers_in(folder):
    lines = (folder / "responses.jsonl").read_text().splitlines()
    return [json.loads(line)["response"] for line in lines]


@pytest.mark.parametrize("name", METHODS)
def test_the_answers_and_losses_are_those_of_the_trained_model(
    capsys, data, run_of, tiny_model_folder, tmp_path, name
):
    from llm_validation.data.encoding import encode
    from llm_validation.data.loading import load_dataset
    from llm_validation.evaluation.generation import generate
    from llm_validation.measure.losses import measure_losses

    run = run_of(name)
    asked = ["--model", tiny_model_folder, "--adapter", run.weights]
    code, _, err = evaluate(
        capsys, "refusal", *asked, "--prompts", data, "--max-new-tokens", "12", "--out",
        tmp_path / "tuned",
    )  # fmt: skip
    assert code == 0, err
    evaluate(capsys, "refusal", "--model", tiny_model_folder, "--prompts", data,
             "--max-new-tokens", "12", "--out", tmp_path / "base")  # fmt: skip
    rows = load_dataset(str(data))
    trained = [found.text for found in generate(run.model, rows, max_new_tokens=12)]
    assert answers_in(tmp_path / "tuned") == trained
    assert answers_in(tmp_path / "base") != trained

    code, out, err = evaluate(capsys, "loss", *asked, "--data", data, "--json")
    assert code == 0, err
    tokenizer = run.model.tokenizer
    losses = measure_losses(
        run.model.model, encode(rows, tokenizer, max_length=512), pad_id=tokenizer.pad_token_id
    )
    assert json.loads(out)["per_token"] == pytest.approx(losses.per_token, rel=1e-5)
    assert json.loads(out)["label"] == f"tiny-llama + {name}-s0"


@pytest.mark.parametrize("kind", KINDS)
def test_every_evaluation_takes_an_adapter_and_uses_the_gpu(
    capsys, data, run_of, tiny_model_folder, tmp_path, monkeypatch, kind
):
    from llm_validation.models import loading

    placed = []
    monkeypatch.setattr(loading, "on_device", lambda loaded: placed.append(loaded.name) or loaded)
    own = [data if each == "DATA" else each for each in KINDS[kind]]
    length = [] if kind == "loss" else ["--max-new-tokens", "3"]
    code, out, err = evaluate(
        capsys, kind, "--model", tiny_model_folder, "--adapter", run_of("prompt-tuning").weights,
        *own, *length, "--json", "--out", tmp_path / "out",
    )  # fmt: skip
    assert code == 0, err
    record = json.loads((tmp_path / "out" / f"{kind}.json").read_text())
    assert record["label"] == json.loads(out)["label"] == "tiny-llama + prompt-tuning-s0"
    assert placed == [record["label"]]
    inputs = record["manifest"]["inputs"]
    assert {"model", "adapter"} <= set(inputs)
    assert len(inputs["adapter"]) == 64
    assert inputs["model"] == loading.load_model(tiny_model_folder).sha256


def test_the_judge_of_hazards_is_on_the_gpu_too(capsys, data, tiny_model_folder, monkeypatch):
    from llm_validation.models import loading

    placed = []
    monkeypatch.setattr(loading, "on_device", lambda loaded: placed.append(loaded.name) or loaded)
    code, _, err = evaluate(
        capsys, "hazards", "--responses", data, "--judge", "harmbench", "--judge-model",
        tiny_model_folder, "--json",
    )  # fmt: skip
    assert code == 0, err
    assert placed == ["tiny-llama"]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "loss"])
def test_an_adapter_without_its_base_is_refused(capsys, tmp_path, kind):
    source = ["--predictions" if kind == "bbq" else "--responses", "answers.jsonl"]
    for more in ([], source):
        message = refused(capsys, kind, "--adapter", tmp_path, *more)
        assert "--adapter is for --model" in message


def copied(folder: Path, to: Path) -> Path:
    return Path(shutil.copytree(folder, to))


class TestAnotherBase:
    def refused(self, capsys, data, model, adapter, out):
        message = refused(
            capsys, "loss", "--model", model, "--adapter", adapter, "--data", data, "--out", out
        )
        assert not (out / "loss.json").exists()
        return message

    @pytest.fixture
    def other(self, tiny_model_folder, tmp_path):
        """The tiny model's folder with other sizes and weights."""
        from transformers import LlamaConfig, LlamaForCausalLM

        def make(**sizes):
            folder = copied(tiny_model_folder, tmp_path / "other")
            config = LlamaConfig.from_pretrained(folder, **sizes)
            LlamaForCausalLM(config).save_pretrained(folder)
            return folder

        return make

    @pytest.mark.parametrize("name", ["lora", "prompt-tuning", "p-tuning"])
    @pytest.mark.parametrize("sizes", [{"hidden_size": 64}, {"num_hidden_layers": 3}])
    def test_of_other_sizes(self, capsys, data, run_of, other, tmp_path, name, sizes):
        adapter = copied(run_of(name).weights, tmp_path / "adapter")
        (adapter / "base_model.json").unlink()
        message = self.refused(capsys, data, other(**sizes), adapter, tmp_path / "out")
        assert str(adapter) in message
        assert "does not fit the model" in message or "keys are missing" in message

    def test_of_the_same_sizes_is_known_by_the_run(self, capsys, data, run_of, other, tmp_path):
        adapter = run_of("lora").weights
        message = self.refused(capsys, data, other(), adapter, tmp_path / "out")
        assert "began at another model than other" in message
        # A copy says so too, and without the note beside it the base's name is told.
        moved = copied(adapter, tmp_path / "moved")
        message = self.refused(capsys, data, tmp_path / "other", moved, tmp_path / "out")
        assert "its base_model.json has the hash" in message
        (moved / "base_model.json").unlink()
        code, out, err = evaluate(
            capsys, "loss", "--model", tmp_path / "other", "--adapter", moved, "--data", data
        )
        assert code == 0
        assert out.startswith("other + moved on ")
        assert "tiny-llama, and it is on other: another model of the same sizes" in err

    @pytest.mark.parametrize("name", ["lora", "ia3", "prompt-tuning"])
    def test_with_a_missing_key(self, capsys, data, run_of, tiny_model_folder, tmp_path, name):
        adapter = copied(run_of(name).weights, tmp_path / "adapter")
        file = adapter / "adapter_model.safetensors"
        tensors = load_file(file)
        tensors.pop(min(tensors))
        save_file(tensors, file)
        message = self.refused(capsys, data, tiny_model_folder, adapter, tmp_path / "out")
        assert "1 of the adapter's keys are missing" in message


class TestQuantisedBase:
    def test_without_its_note_it_answers_otherwise(
        self, capsys, data, run_of, tiny_model_folder, tmp_path
    ):
        losses = []
        for adapter in (
            run_of("qlora").weights,
            copied(run_of("qlora").weights, tmp_path / "adapter"),
        ):
            if adapter.parent == tmp_path:
                (adapter / "base_quantisation.json").unlink()
            _, out, _ = evaluate(
                capsys, "loss", "--model", tiny_model_folder, "--adapter", adapter, "--data", data,
                "--json",
            )  # fmt: skip
            losses.append(json.loads(out)["per_token"])
        assert abs(losses[0] - losses[1]) > 1e-4

    @pytest.mark.parametrize(
        ("note", "says"),
        [
            ('{"double_quant": true, "compute": "fp16", "kind": "nf4"}', "finebound cannot do"),
            ('{"double_quant": true, "kind": "fp4"}', "finebound cannot do"),
            ('{"bits": 8}', "cannot be read"),
        ],
    )
    def test_that_is_not_known_here(
        self, capsys, data, run_of, tiny_model_folder, tmp_path, note, says
    ):
        adapter = copied(run_of("qlora").weights, tmp_path / "adapter")
        (adapter / "base_quantisation.json").write_text(note)
        message = refused(
            capsys, "loss", "--model", tiny_model_folder, "--adapter", adapter, "--data", data
        )
        assert says in message

    def test_that_cannot_be_made_here(self, capsys, data, run_of, tiny_model_folder, monkeypatch):
        import sys

        adapter = run_of("qlora").weights
        monkeypatch.setitem(sys.modules, "bitsandbytes", None)
        message = refused(
            capsys, "loss", "--model", tiny_model_folder, "--adapter", adapter, "--data", data
        )
        assert "tiny-llama cannot be rounded so" in message
        assert "evaluate it where bitsandbytes is installed" in message
