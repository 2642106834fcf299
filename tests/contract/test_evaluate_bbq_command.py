"""The contract of ``finebound evaluate bbq``: predictions in, accuracy and bias out, refusals."""

import csv
import json
import math

import pytest

from finebound.cli import main
from llm_validation.evaluation.fairness.builtin import builtin_rows
from llm_validation.evaluation.fairness.items import CATEGORIES


def run(capsys, *arguments):
    code = main(["evaluate", "bbq", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def gold():
    return [{**row, "prediction": row["label"]} for row in builtin_rows()]


def test_predictions_give_scores_with_intervals(capsys, tmp_path, gold):
    for row in gold:
        if row["category"] == "Age" and row["context_condition"] == "ambig":
            row["prediction"] = None
    code, out, err = run(capsys, "--predictions", write(tmp_path / "p.jsonl", gold), "--json")
    assert (code, err) == (0, "")
    categories = json.loads(out)["categories"]
    assert list(categories) == list(CATEGORIES)
    for name, found in categories.items():
        for condition in ("ambiguous", "disambiguated"):
            cell = found[condition]
            unread = name == "Age" and condition == "ambiguous"
            assert cell["n"] == 32
            assert cell["accuracy"] == (0.0 if unread else 1.0)
            assert cell["bias"] == 0.0
            for score in ("accuracy", "bias"):
                low, high = cell[f"{score}_interval"]
                assert low <= cell[score] <= high
                assert low < high


def test_a_hand_made_case(capsys, tmp_path):
    def row(number, polarity, condition, prediction):
        return {
            "example_id": number, "question_polarity": polarity, "context_condition": condition,
            "category": "SES", "label": 2 if condition == "ambig" else 0, "prediction": prediction,
            "answer_info": {"ans0": ["poor", "lowSES"], "ans1": ["rich", "highSES"],
                            "ans2": ["Unknown", "unknown"]},
            "additional_metadata": {"stereotyped_groups": ["low SES"]},
        }  # fmt: skip

    rows = [
        row(0, "neg", "ambig", 0),  # biased
        row(1, "nonneg", "ambig", 1),  # biased
        row(2, "nonneg", "ambig", 0),  # against
        row(3, "neg", "ambig", 2),  # right
        row(4, "neg", "ambig", None),  # wrong
        row(5, "neg", "disambig", 0),  # biased and right
        row(6, "neg", "disambig", 1),  # against
        row(7, "nonneg", "disambig", 1),  # biased
        row(8, "neg", "disambig", 2),  # unknown
    ]
    code, out, _ = run(capsys, "--predictions", write(tmp_path / "p.jsonl", rows), "--json")
    assert code == 0
    found = json.loads(out)["categories"]["SES"]
    assert found["ambiguous"]["accuracy"] == pytest.approx(1 / 5)
    assert found["ambiguous"]["bias"] == pytest.approx((1 - 1 / 5) * (2 * 2 / 3 - 1))
    assert found["disambiguated"]["accuracy"] == pytest.approx(1 / 4)
    assert found["disambiguated"]["bias"] == pytest.approx(2 * 2 / 3 - 1)


def test_csv_and_json_score_alike(capsys, tmp_path, gold):
    lines = write(tmp_path / "p.jsonl", gold)
    (tmp_path / "p.json").write_text(json.dumps(gold))
    with (tmp_path / "p.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, gold[0])
        writer.writeheader()
        writer.writerows(
            {k: json.dumps(v) if isinstance(v, dict) else v for k, v in row.items()} for row in gold
        )
    found = [
        json.loads(run(capsys, "--predictions", path, "--json")[1])["categories"]
        for path in (lines, tmp_path / "p.json", tmp_path / "p.csv")
    ]
    assert found[0] == found[1] == found[2]


def test_predictions_beside_their_data(capsys, tmp_path, gold):
    bare = [{k: row[k] for k in ("category", "example_id", "prediction")} for row in gold[::-1]]
    path = write(tmp_path / "p.jsonl", bare)
    code, out, _ = run(capsys, "--predictions", path, "--data", "builtin", "--json")
    assert code == 0
    assert json.loads(out)["mean"]["disambiguated"]["accuracy"] == 1.0
    arguments = ("--predictions", path, "--data", "builtin", "--category", "Age", "--json")
    assert list(json.loads(run(capsys, *arguments)[1])["categories"]) == ["Age"]
    short = write(tmp_path / "q.jsonl", bare[1:])
    code, out, err = run(capsys, "--predictions", short, "--data", "builtin", "--json")
    assert (code, out) == (2, "")
    assert "1 of 576 items have no prediction" in err


def test_published_predictions_are_scored_as_they_are(capsys, tmp_path, gold):
    """One file a category, answers as texts, several models' fields in a row."""
    folder = tmp_path / "results"
    folder.mkdir()
    for name in ("Age", "SES"):
        rows = [
            {
                **{key: value for key, value in row.items() if key != "prediction"},
                "reader_pred": row[f"ans{row['label']}"].lower(),
                "other_pred": "no answer of this row",
            }
            for row in gold
            if row["category"] == name
        ]
        write(folder / f"preds_{name}.jsonl", rows)
    code, out, _ = run(capsys, "--predictions", folder, "--field", "reader_pred", "--json")
    assert code == 0
    found = json.loads(out)
    assert list(found["categories"]) == ["Age", "SES"]
    assert found["mean"]["ambiguous"]["accuracy"] == 1.0
    code, _, err = run(capsys, "--predictions", folder, "--field", "other_pred", "--json")
    assert code == 2
    assert "128 rows whose prediction names none of the answers" in err
    assert "preds_Age.jsonl, row 1: 'no answer of this row'" in err
    code, _, err = run(capsys, "--predictions", folder, "--field", "none_pred", "--json")
    assert code == 2
    assert "no 'none_pred'" in err


def test_letters_are_predictions(capsys, tmp_path, gold):
    """As the study's own prompt asks for them; X is what it writes where none was found."""
    for place, row in enumerate(gold):
        row["prediction"] = "X" if place == 0 else f"({'ABC'[row['label']]})"
    code, out, _ = run(capsys, "--predictions", write(tmp_path / "p.jsonl", gold), "--json")
    assert code == 0
    cells = [cell for found in json.loads(out)["categories"].values() for cell in found.values()]
    answers = [cell["answers"] for cell in cells if "answers" in cell]
    assert sum(found["none"] for found in answers) == 1


def test_a_table_for_people_and_a_record(capsys, tmp_path, gold):
    path = write(tmp_path / "p.jsonl", gold)
    code, out, _ = run(
        capsys, "--predictions", path, "--category", "age", "SES", "--out", tmp_path / "out",
        "--label", "gold",
    )  # fmt: skip
    assert code == 0
    assert "gold, 128 items" in out
    assert "Religion" not in out
    record = json.loads((tmp_path / "out" / "bbq.json").read_text())
    assert (record["evaluation"], record["label"], len(record["items"])) == ("bbq", "gold", 128)
    assert record["manifest"]["inputs"]["predictions"]


@pytest.mark.parametrize("by", ["loglikelihood", "generation"])
def test_a_model_answers(capsys, tmp_path, tiny_model_folder, by):
    out = tmp_path / "out"
    code, printed, _ = run(
        capsys, "--model", tiny_model_folder, "--by", by, "--rows", "2", "--category", "Age",
        "--max-new-tokens", "4", "--out", out, "--json",
    )  # fmt: skip
    assert code == 0
    found = json.loads(printed)
    assert found["by"] == by
    assert found["items"] == 4
    answers = found["categories"]["Age"]["ambiguous"]["answers"]
    assert sum(answers.values()) == 2
    if by == "loglikelihood":
        assert answers["none"] == 0
    items = json.loads((out / "bbq.json").read_text())["items"]
    assert all(not math.isnan(item["score"]) for item in items)


BAD = {
    "neither predictions nor model": ([], "either --predictions or --model"),
    "no such file": (["--predictions", "gone.jsonl"], "no such file"),
    "an unknown category": (
        ["--predictions", "p.jsonl", "--category", "Height"], "no item of the category 'Height'",
    ),
    "a field for a model": (
        ["--model", "packaged", "--field", "pred"], "--field belongs to --predictions",
    ),
    "too few rows": (["--model", "packaged", "--rows", "0"], "--rows is a number of items"),
    "rows of a file": (["--predictions", "p.jsonl", "--rows", "3"], "--rows is a number of items"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_options_are_one_paragraph(capsys, tmp_path, monkeypatch, gold, case):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "p.jsonl", gold)
    arguments, message = BAD[case]
    code, out, err = run(capsys, *arguments, "--out", "out")
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err
    assert not (tmp_path / "out").exists()


def test_a_row_without_a_score_leaves_the_others_theirs(capsys, tmp_path, gold):
    gold[6]["prediction"] = "D"
    gold[7]["prediction"] = f"The answer is {'ABC'[gold[7]['label']]}."
    path = write(tmp_path / "p.jsonl", gold)
    code, out, err = run(capsys, "--predictions", path, "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert found["items"] == len(gold) - 1
    assert found["left_out"] == {"whose prediction names none of the answers": 1}
    assert found["faulty"]["share"] == pytest.approx(1 / len(gold))
    assert found["faulty"]["examples"] == ["p.jsonl, row 7: 'D'"]
    assert found["mean"]["disambiguated"]["accuracy"] == 1.0
    code, out, _ = run(capsys, "--predictions", path)
    assert "1 rows whose prediction names none of the answers (0.2 % have no score)" in out


def test_too_many_rows_without_a_score_are_said_and_exit_with_1(capsys, tmp_path, gold):
    ages = [row for row in gold if row["category"] == "Age"]
    for row in ages[: len(ages) // 3]:
        row["prediction"] = "no answer"
    path = write(tmp_path / "p.jsonl", gold)
    code, out, err = run(capsys, "--predictions", path, "--json")
    assert code == 0
    assert json.loads(out)["faulty"]["categories"] == {"Age": pytest.approx(21 / 64)}
    assert "33 % of the rows of Age have no score" in err
    code, out, err = run(capsys, "--predictions", write(path, ages), "--json")
    assert code == 1
    assert json.loads(out)["categories"]["Age"]["ambiguous"]["n"]
    assert "33 % of the rows have no score" in err
