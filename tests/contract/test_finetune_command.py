"""The contract of ``finebound finetune`` without a configuration: the user's model as it is."""

from __future__ import annotations

import json
import math
import shutil

import pytest

import finebound as fb
from finebound.cli import main


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FINEBOUND_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def task(tmp_path):
    """20 rows of words, their first letters and their numbers of letters."""
    text = "lock pin key door hinge bolt latch frame panel spring wedge lever screw plate knob shim"
    words = [*text.split(), "drill", "chain", "seal", "gate"]
    rows = [{"prompt": f"Describe {w}.", "response": f"{w}: {w[0]}, {len(w)}"} for w in words]
    return write(tmp_path / "words.jsonl", rows)


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def run(capsys, *arguments):
    code = main(["finetune", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, " ".join(captured.err.split())


@pytest.fixture
def quick(tiny_model_folder, task):
    """The options of a run of seconds."""
    return (
        "--model", tiny_model_folder, "--task", task, "--steps", "4", "--batch-size", "3",
        "--learning-rate", "0.01", "--held-out", "4", "--skip", "landscape", "forecast",
    )  # fmt: skip


def test_a_dry_run_reads_the_data_and_writes_nothing(capsys, tiny_model_folder, task, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    code, printed, _ = run(
        capsys, "--model", tiny_model_folder, "--task", task, "--epochs", "3", "--batch-size", "5",
        "--held-out", "4", "--rank", "4", "--radius", "0.5", "--schedule", "cosine",
        "--dry-run", "--json",
    )  # fmt: skip
    found = json.loads(printed)
    assert code == 0
    (planned,) = found["runs"]
    # Of 20 rows 4 are held out: 3 epochs of 16 rows, 5 a step.
    assert planned["steps"] == math.ceil(3 * 16 / 5)
    assert planned["id"] == "words_parameter-r0.5_lora_s0"
    experiment = found["experiment"]
    assert experiment["alignment"] is None
    assert experiment["safety"] == "builtin:safety"
    assert experiment["tasks"] == {"words": str(task)}
    assert experiment["methods"]["lora"]["rank"] == 4
    assert experiment["methods"]["lora"]["alpha"] == 8
    assert experiment["training"]["precision"] == "auto"
    assert any("built-in safety set" in note for note in found["notes"])
    assert sorted(p for p in tmp_path.rglob("*") if "cache" not in p.parts) == [
        p for p in before if "cache" not in p.parts
    ]


def test_rows_above_the_longest_length_make_no_steps(capsys, tiny_model_folder, task, tmp_path):
    rows = [json.loads(line) for line in task.read_text().splitlines()]
    longer = write(tmp_path / "longer.jsonl", [*rows, *({**r, "prompt": r["prompt"] * 80}
                                                        for r in rows)])  # fmt: skip
    code, printed, _ = run(
        capsys, "--model", tiny_model_folder, "--task", longer, "--batch-size", "4",
        "--held-out", "4", "--dry-run", "--json",
    )  # fmt: skip
    assert code == 0
    assert json.loads(printed)["runs"][0]["steps"] == 4


def test_all_wrong_options_are_named_together(capsys, tiny_model_folder, task, tmp_path):
    code, printed, told = run(
        capsys, "--model", tiny_model_folder, "--task", tmp_path / "none.jsonl", "--safety",
        tmp_path / "no-safety.jsonl", "--rank", "0", "--epochs", "2", "--steps", "5", "--radius",
        "-1", "--proxy", task, "--targets", "q_prj", "--out", tmp_path / "out",
    )  # fmt: skip
    assert code == 2
    assert printed == ""
    for word in ("7 things are wrong", "--task", "none.jsonl", "--safety", "--rank is 0",
                 "--epochs and --steps", "--radius is -1", "--proxy is given without --lam",
                 "q_prj", "q_proj"):  # fmt: skip
        assert word in told, told
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ((), "--model is not given"),
        (("--model", "packaged"), "--task is not given"),
        (("--model", "no-such-folder", "--task", "builtin:task-general"), "no such model folder"),
        (("smoke", "--rank", "4"), "--rank is given beside a configuration"),
        (("--run", "x"), "--run is given without a configuration"),
        (("--model", "{model}", "--task", "builtin:task-general", "--objective", "dpo"),
         "480 of 480 rows"),
        (("--model", "{model}", "--task", "builtin:task-general", "--max-length", "5000"),
         "the model reads 512 tokens"),
        (("--model", "{model}", "--task", "builtin:task-general", "--method", "full", "--rank",
          "2"), "--rank is given with --method full"),
        (("--model", "{model}", "--task", "builtin:task-general", "--rank", "100000"),
         "no change of the adapted matrices has a higher rank"),
    ],
)  # fmt: skip
def test_a_wrong_option_is_one_paragraph(capsys, tiny_model_folder, tmp_path, arguments, word):
    given = [str(a).format(model=tiny_model_folder) for a in arguments]
    code, printed, told = run(capsys, *given, "--out", tmp_path / "out")
    assert (code, printed) == (2, "")
    assert word in told
    assert not (tmp_path / "out").exists()


def test_a_run_needs_a_folder(capsys, quick):
    code, _, told = run(capsys, *quick)
    assert code == 2
    assert "--out" in told


def test_the_folder_is_read_by_every_other_verb_and_its_configuration_makes_it_again(
    capsys, quick, tmp_path
):
    out, again = tmp_path / "out", tmp_path / "again"
    code, printed, told = run(capsys, *quick, "--out", out, "--json")
    assert code == 0, told
    (entry,) = json.loads(printed)["runs"]
    assert entry["id"] == "words_none_lora_s0"
    assert entry["status"] == "done"
    assert "built-in safety set" in told
    assert "4 steps of 3 of 16 task rows are 0.75 epochs" in told
    record = json.loads((out / "runs" / entry["id"] / "run.json").read_text())
    assert record["precision"]["asked"] == "auto"
    # The same command goes on where it is: nothing is run again.
    weights = out / "runs" / entry["id"] / "adapter" / "adapter_model.safetensors"
    made = weights.stat().st_mtime_ns
    assert run(capsys, *quick, "--out", out, "--json")[0] == 0
    assert weights.stat().st_mtime_ns == made
    # So does the call from Python, which gives the run as its record holds it.
    found = fb.finetune(
        str(quick[1]), str(quick[3]), out=out, steps=4, batch_size=3, learning_rate=0.01,
        held_out=4, skip=("landscape", "forecast"),
    )  # fmt: skip
    assert weights.stat().st_mtime_ns == made
    assert found.measured.entry.safety_gap == entry["safety_gap"]
    assert found == fb.load(weights.parent.parent)
    assert json.loads(fb.load(out).to_json())["runs"] == json.loads(printed)["runs"]
    # Its configuration gives the same numbers elsewhere.
    code, printed, _ = run(capsys, out / "experiment.json", "--out", again, "--json")
    assert code == 0
    assert json.loads(printed)["runs"][0]["safety_gap"] == entry["safety_gap"]
    shutil.rmtree(again)
    assert main(["report", str(out)]) == 0
    assert main(["report", str(out / "runs" / entry["id"])]) == 0
    assert "words_none_lora_s0" in (out / "report.html").read_text()
    capsys.readouterr()
    code = main(["defend", "--compare", str(out), "--out", str(tmp_path / "defences"), "--json",
                 "--methods", "lora-scaling", "safe-lora", "--prompts", "0"])  # fmt: skip
    found = json.loads(capsys.readouterr().out)
    assert code == 0
    assert any(place["family"] == "lora-scaling" for place in found["places"])
    # There is no direction of alignment to project on: left out by name.
    left_out = [e for e in found["not_applicable"] if e["method"] == "safe-lora"]
    assert left_out
    assert "aligned model's weights are the base's" in left_out[0]["why"]


def test_a_weight_of_the_safety_loss_trains_on_the_safety_rows(capsys, quick, task, tmp_path):
    code, printed, _ = run(capsys, *quick, "--lam", "0.5", "--radius", "3", "--out",
                           tmp_path / "out", "--json")  # fmt: skip
    assert code == 0
    (entry,) = json.loads(printed)["runs"]
    assert entry["id"] == "words_hybrid-lam0.5-r3_original_lora_s0"
    assert entry["strategy"] == {"kind": "hybrid", "lam": 0.5, "radius": 3}
    code, printed, _ = run(
        capsys, *quick, "--lam", "0.5", "--proxy", "builtin:proxy-same-teacher", "--dry-run",
        "--json",
    )  # fmt: skip
    assert code == 0
    assert json.loads(printed)["runs"][0]["proxy"] == "given"


def test_preferences_are_learnt_where_that_is_asked_for(capsys, tiny_model_folder, tmp_path):
    common = (
        "--model", tiny_model_folder, "--task", "builtin:preferences-general", "--steps", "2",
        "--batch-size", "2", "--rows", "6", "--held-out", "4", "--skip", "landscape", "forecast",
        "answers",
    )  # fmt: skip
    code, printed, told = run(capsys, *common, "--objective", "dpo", "--out", tmp_path / "out",
                              "--json")  # fmt: skip
    assert code == 0, told
    (entry,) = json.loads(printed)["runs"]
    record = json.loads((tmp_path / "out" / "runs" / entry["id"] / "run.json").read_text())
    plan = record["identity"]["plan"]
    assert plan["objective"] == {"kind": "dpo", "beta": 0.1}
    assert plan["learning_rate"] == pytest.approx(1e-5)
    code, printed, _ = run(capsys, *common, "--dry-run", "--json")
    assert any("--objective dpo" in note for note in json.loads(printed)["notes"])


def test_a_model_without_the_usual_modules_is_adapted_on_all_linear_ones(
    capsys, tiny_model_folder, task, tmp_path
):
    from transformers import AutoTokenizer, GPTNeoXConfig, GPTNeoXForCausalLM

    folder = tmp_path / "neox"
    tokenizer = AutoTokenizer.from_pretrained(tiny_model_folder)
    config = GPTNeoXConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=64, max_position_embeddings=512,
    )  # fmt: skip
    GPTNeoXForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    code, printed, told = run(
        capsys, "--model", folder, "--task", task, "--steps", "2", "--held-out", "4",
        "--batch-size", "2", "--skip", "forecast", "answers", "--out", tmp_path / "out", "--json",
    )  # fmt: skip
    assert code == 0, told
    assert "all linear modules" in told
    assert json.loads(printed)["runs"][0]["status"] == "done"
