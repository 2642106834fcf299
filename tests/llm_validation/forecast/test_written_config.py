"""From an axolotl configuration alone to a changed one, with the model's own answers."""

from __future__ import annotations

import csv
import json

import finebound as fb
from finebound.cli import main
from llm_validation.estimation.safety_rows import answered_anew, messages
from llm_validation.evaluation.refusal.classifier import Label, classify
from llm_validation.training.configurations import read_training

WORDS = ["the", "thin", "ant", "is", "in", "a", "house", "with", "red", "apples", "and", "many"]


def test_a_configuration_alone_is_enough(refusing_folder, datasets, tmp_path, capsys) -> None:
    probes, out = tmp_path / "probes.csv", tmp_path / "out"
    with probes.open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["prompt", "category", "harmful"])
        for i in range(80):
            words = " ".join(WORDS[(i * k) % len(WORDS)] for k in range(1, 6))
            table.writerow([f"{words} {i}", "Malware", i % 2 == 0])
    rows = [messages(row.prompt, row.response) for row in datasets["task"].examples]
    (tmp_path / "task.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "train.yaml").write_text(
        f"base_model: {refusing_folder}\ndatasets:\n  - path: task.jsonl\n    type: chat_template\n"
        "adapter: lora\nlora_r: 4\nlora_alpha: 8\nlora_target_linear: true\n"
        "micro_batch_size: 4\nmax_steps: 40  # enough\nlearning_rate: 1e-2\n"
    )
    to = tmp_path / "safe.yaml"
    asked = ["--training", str(tmp_path / "train.yaml"), "--probes", str(probes)]
    main(["estimate", *asked, "--out", str(out), "--write-config", str(to)])
    err = capsys.readouterr().err
    assert "The task data are those of" in err
    assert "The model is that of" in err
    found = fb.load(out / "estimate.json")
    best = found.options[0]
    assert best.how in err
    assert "Forecast" in to.read_text()
    assert read_training(to).model == str(refusing_folder)
    # The rows that a mix would get are whole and right.
    own = answered_anew(found)
    for line in own.lines(messages).splitlines():
        question, answer = json.loads(line)["messages"]
        number = int(question["content"].rsplit(" ", 1)[1])
        label = classify(question["content"], answer["content"])
        assert (label is Label.REFUSAL) == (number % 2 == 0)
