"""``finebound estimate`` without safety data: what happens to a model's refusals."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import finebound as fb
from finebound.base.errors import InputError
from finebound.cli import main
from finebound.views.estimate import page
from llm_validation.estimation import outlook
from llm_validation.estimation.request import Request
from llm_validation.estimation.result import estimate

WORDS = ["the", "thin", "ant", "is", "in", "a", "house", "with", "red", "apples", "and", "many"]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, datasets) -> dict[str, Path]:
    """Probes, a task and a training configuration, as files."""
    folder = tmp_path_factory.mktemp("files")
    rng = np.random.default_rng(5)
    with (folder / "probes.csv").open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["prompt", "category", "harmful"])
        for i in range(48):
            table.writerow([f"{' '.join(rng.choice(WORDS, 5))} {i}", "Malware", i % 2 == 0])
    rows = [{"prompt": row.prompt, "response": row.response} for row in datasets["task"].examples]
    (folder / "task.jsonl").write_text("\n".join(map(json.dumps, rows)))
    safe = [{"prompt": row.prompt, "response": row.response} for row in datasets["safety"].examples]
    (folder / "safety.jsonl").write_text("\n".join(map(json.dumps, safe)))
    (folder / "few.jsonl").write_text("\n".join(map(json.dumps, rows[:12])))
    trl = {
        "per_device_train_batch_size": 4,
        "max_steps": 24,
        "learning_rate": 5e-3,
        "lr_scheduler_type": "linear",
        "logging_steps": 5,
    }
    (folder / "training.json").write_text(json.dumps(trl))
    return {file.stem: file for file in folder.iterdir()}


@pytest.fixture(scope="module")
def asked(refusing_folder: Path, files) -> list[str]:
    """The command line that all tests share."""
    return [
        "estimate",
        *("--model", str(refusing_folder), "--task", str(files["task"])),
        *("--probes", str(files["probes"]), "--rank", "4"),
    ]


def test_the_contract_of_the_answer(asked, files, tmp_path, capsys) -> None:
    plan = ["--steps", "40", "--batch-size", "4", "--learning-rate", "1e-2"]
    code = main([*asked, *plan, "--budget", "refusal=5", "--json", "--out", str(tmp_path / "out")])
    found = json.loads(capsys.readouterr().out)
    assert {"sentence", "status"} <= found["verdict"].keys()
    forecast = found["forecast"]
    for name in ("refusal", "over_refusal"):
        assert {"before", "after", "interval", "level"} <= forecast[name].keys()
    assert {"safety_loss_change", "capability_gain", "cost_share"} <= forecast.keys()
    assert {"fine_tunes", "coverage", "mean_width"} <= forecast["evidence"].keys()
    option = found["options"][0]
    assert {"strategy", "how", "refusal", "safety_loss_change", "capability_gain"} <= option.keys()
    assert {"kept": 0, "broken": 1, "undecided": 3}[found["budgets"][0]["decision"]] == code != 0
    assert {"harmful_rows", "unread_columns"} & found["audit"].keys()
    assert ["steps", 40, "--steps"] in [list(row.values()) for row in found["plan"]]
    # The page is drawn from the record alone.
    html = (tmp_path / "out" / "report.html").read_text()
    result = fb.load(tmp_path / "out" / "estimate.json")
    assert "After this fine-tune the model is forecast to refuse" in html
    assert result.to_json() == (tmp_path / "out" / "estimate.json").read_text().rstrip("\n")
    assert result.summary().startswith("After this fine-tune")
    assert len(result.table().rows) == len(result.options)
    assert "forecast to refuse" in result._repr_html_()
    assert result.plot().axes


def test_a_training_file_is_the_plan_and_flags_win(asked, files, capsys) -> None:
    training = ["--training", str(files["training"]), "--learning-rate", "1e-5"]
    assert main([*asked, *training, "--budget", "refusal=60", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    plan = {row["name"]: (row["value"], row["source"]) for row in found["plan"]}
    assert plan["steps"] == (24, "max_steps")
    assert plan["learning_rate"][0] == 1e-5
    assert plan["learning_rate"][1].startswith("--learning-rate")
    assert plan["schedule"][0] == "linear"
    # So small a rate changes nothing.
    assert abs(found["forecast"]["safety_loss_change"]["value"]) < 0.05


def test_with_safety_data_a_budget_asks_for_refusals_too(asked, files, tmp_path, capsys) -> None:
    given = ["--safety", str(files["safety"]), "--steps", "12", "--batch-size", "4"]
    main([*asked, *given, "--budget", "refusal=5", "--json", "--out", str(tmp_path / "out")])
    found = json.loads(capsys.readouterr().out)
    assert found["model"] is not None  # bounds, on the data that were given
    assert found["forecast"]["refusal"]["before"] > 0.8
    mix = next(option for option in found["options"] if option["strategy"] == "mix")
    assert mix["how"].startswith("mix 10 % safety rows (safety)")
    html = (tmp_path / "out" / "report.html").read_text()
    assert html.index("is forecast to refuse") < html.index("Everything here was measured on")


def test_the_terminal_answers_in_25_lines(asked, capsys) -> None:
    main([*asked, "--steps", "12", "--batch-size", "4"])
    lines = capsys.readouterr().out.rstrip().splitlines()
    assert lines[0].startswith("After this fine-tune")
    assert len(lines) <= 25


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (["--budget", "refusal=120"], "budget"),
        (["--budget", "safety=5"], "budget"),
        (["--budget", "refusal=many"], "budget"),
        (["--probes", "no-such-file.csv"], "no-such-file.csv"),
        (["--training", "no-such-file.yaml"], "no-such-file.yaml"),
    ],
)
def test_what_is_wrong_is_said_before_any_work(asked, change, said, capsys) -> None:
    with pytest.raises(SystemExit) as stopped:
        raise SystemExit(main([*asked, *change]))
    assert stopped.value.code == 2
    assert said in capsys.readouterr().err


def test_too_few_rows_and_a_model_that_refuses_nothing(
    refusing_folder, tiny_model_folder, files
) -> None:
    with pytest.raises(InputError, match="20"):
        fb.estimate(model=refusing_folder, task=files["few"], probes=str(files["probes"]))
    with pytest.raises(InputError, match="too little to lose"):
        fb.estimate(model=tiny_model_folder, task=files["task"], probes=str(files["probes"]))


def test_what_a_training_file_says_beside_the_plan_is_told(asked, tmp_path, capsys) -> None:
    file = tmp_path / "training.json"
    given = {"max_steps": 8, "num_train_epochs": 3, "packing": True, "per_device_batch": 4}
    file.write_text(json.dumps({"per_device_train_batch_size": 4, **given}))
    assert main([*asked, "--training", str(file), "--json", "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr()
    found = json.loads(said.out)["plan_notes"]
    for words in ("packing is True. Packed rows make fewer", "per_device_batch is no key"):
        assert sum(words in note for note in found) == 1
        assert words in said.err
        assert words in (tmp_path / "out" / "report.html").read_text()


def test_a_model_that_declines_everything_is_told_so(asked, capsys) -> None:
    main([*asked, "--steps", "8", "--batch-size", "4", "--json"])
    sentence = json.loads(capsys.readouterr().out)["verdict"]["sentence"]
    assert "of harmless look-alikes now: what it loses may be over-refusal." in sentence


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["--learning-rate", "1e12"], "diverged"),
        (["--budget", "refusal=nan"], "0 to 100"),
        (["--budget", "over-refusal=-1"], "0 to 100"),
    ],
)
def test_what_cannot_be_forecast_is_an_error(asked, settings, said, capsys) -> None:
    assert main([*asked, "--steps", "8", "--batch-size", "4", *settings]) == 2
    assert said in capsys.readouterr().err


def test_a_model_without_a_chat_template_is_rejected(
    refusing_folder, files, tmp_path, capsys
) -> None:
    base = shutil.copytree(refusing_folder, tmp_path / "base")
    (base / "chat_template.jinja").unlink()
    assert main(["estimate", "--model", str(base), "--task", str(files["task"])]) == 2
    assert "no chat template" in capsys.readouterr().err


def test_what_stands_is_on_the_page_before_the_forecast(
    refusing_folder, files, tmp_path, monkeypatch
) -> None:
    def interrupted(*arguments, **settings):
        raise KeyboardInterrupt

    request = Request(
        model=str(refusing_folder),
        task=str(files["task"]),
        probes=str(files["probes"]),
        training=str(files["training"]),
        rank=4,
    )
    out = tmp_path / "out"
    with monkeypatch.context() as patched:
        patched.setattr(outlook, "look_ahead", interrupted)
        with pytest.raises(KeyboardInterrupt):
            estimate(request, out=out, page=page)
    html = (out / "report.html").read_text()
    assert "The model now refuses" in html
    assert "is being forecast" in html
    assert fb.load(out / "estimate.json").forecast is None
    # The same call goes on, and the page is the whole answer.
    whole = estimate(request, out=out, page=page)
    assert whole.forecast is not None
    assert "is being forecast" not in (out / "report.html").read_text()
    assert not list(tmp_path.glob(".*"))
