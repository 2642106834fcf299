"""The contract of ``finebound compare``: records in, tests and tables out, refusals."""

import json
import random
from dataclasses import replace

import pytest

from finebound.cli import main
from finebound.results.evaluation import EvaluationResult, ScoredItem
from llm_validation.evaluation.fairness.builtin import builtin_bbq
from llm_validation.evaluation.fairness.record import as_result


def run(capsys, *arguments):
    code = main(["compare", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def bbq_record(folder, label, *, share_right, follow, seed):
    rng, found = random.Random(seed), builtin_bbq()
    answers = []
    for item in found.items:
        biased = item.stereotyped if item.negative else 3 - item.stereotyped - item.unknown
        other = 3 - biased - item.unknown
        wrong = biased if rng.random() < follow else other
        answers.append(item.label if rng.random() < share_right else wrong)
    result = as_result(replace(found, predictions=tuple(answers)), label=label, summary={})
    result.save(folder)
    return folder


@pytest.fixture
def records(tmp_path):
    return [
        bbq_record(tmp_path / "base", "base", share_right=0.6, follow=0.9, seed=0),
        bbq_record(tmp_path / "lora", "lora", share_right=0.3, follow=0.1, seed=1),
        bbq_record(tmp_path / "ia3", "ia3", share_right=0.6, follow=0.9, seed=2),
    ]


def test_tests_and_tables_of_three_methods(capsys, tmp_path, records):
    out = tmp_path / "out"
    code, printed, err = run(capsys, *records, "--base", "base", "--out", out)
    assert (code, err) == (0, "")
    assert "Friedman" in printed
    content = json.loads((out / "compare.json").read_text())
    both = {c["condition"]: c for c in content["comparisons"]}
    assert list(both) == ["ambiguous", "disambiguated"]
    assert all((c["evaluation"], c["items"]) == ("bbq", 288) for c in both.values())
    comparison = both["ambiguous"]
    assert comparison["friedman"]["kendall_w"] > 0.0
    lora = next(p for p in comparison["pairs"] if (p["first"], p["second"]) == ("base", "lora"))
    assert lora["p_adjusted"] < 1e-6
    methods = {m["label"]: m for m in comparison["methods"]}
    assert methods["lora"]["difference_interval"][1] < 0.0
    assert set(methods["ia3"]["categories"]) == {
        f"{i.category}, ambiguous" for i in builtin_bbq().items
    }
    flips = [c for c in comparison["bias_changes"] if c["label"] == "lora" and c["certain"]]
    assert flips
    assert all(c["base_bias"] > 0.0 > c["bias"] for c in flips)
    names = {file.stem for file in out.iterdir() if file.suffix == ".tex"}
    tables = ("scores", "differences", "pairs", "tests", "bias")
    assert names == {f"bbq_{condition}_{table}" for condition in both for table in tables}
    assert "s_AMB of base" in (out / "bbq_ambiguous_bias.md").read_text()
    assert "mean |s_DIS|,lora" in (out / "bbq_disambiguated_bias.csv").read_text()
    assert "Kendall's W" in (out / "bbq_ambiguous_tests.tex").read_text()
    for name in names:
        for ending in ("md", "csv", "tex"):
            assert (out / f"{name}.{ending}").read_text()


def test_json_alone_on_stdout(capsys, records):
    code, out, _ = run(capsys, *records[:2], "--json")
    assert code == 0
    content = json.loads(out)
    assert content["comparisons"][0]["friedman"] is None
    assert len(content["manifest"]["inputs"]) == 2


def test_seeds_share_a_label(capsys, tmp_path, records):
    again = bbq_record(tmp_path / "lora-1", "lora", share_right=0.3, follow=0.1, seed=7)
    code, out, _ = run(capsys, *records, again, "--json")
    assert code == 0
    methods = json.loads(out)["comparisons"][0]["methods"]
    assert [m["seeds"] for m in methods] == [1, 2, 1]


def test_several_evaluations_side_by_side(capsys, tmp_path, records):
    for folder in records[:2]:
        items = tuple(ScoredItem(id=i, category="German", score=40.0 + i) for i in range(8))
        EvaluationResult(evaluation="translation", label=folder.name, items=items).save(folder)
    code, out, _ = run(capsys, *records[:2], "--json")
    assert code == 0
    found = {c["evaluation"]: c for c in json.loads(out)["comparisons"]}
    assert set(found) == {"bbq", "translation"}
    assert found["translation"]["condition"] is None
    assert found["translation"]["pairs"][0]["n_nonzero"] == 0


def test_opposite_models_of_the_same_pooled_accuracy_are_told_apart(capsys, tmp_path):
    found = builtin_bbq()
    for label, right in (("cautious", "ambiguous"), ("bold", "disambiguated")):
        answers = tuple(i.label if i.condition == right else (i.label + 1) % 3 for i in found.items)
        result = as_result(replace(found, predictions=answers), label=label, summary={})
        result.save(tmp_path / label)
    code, out, _ = run(capsys, tmp_path / "cautious", tmp_path / "bold", "--json")
    assert code == 0
    for comparison in json.loads(out)["comparisons"]:
        sign = -1.0 if comparison["condition"] == "ambiguous" else 1.0
        bold = comparison["methods"][1]
        assert bold["difference"] == sign
        assert all(cell["difference"] == sign for cell in bold["categories"].values())
        assert comparison["pairs"][0]["p_value"] < 1e-6


def run_entry(method, seed, task, safety, gate=True):
    return {
        "id": f"{task}-{method}-{seed}", "status": "done", "safety_gap": safety,
        "capability_gap": 0.5 - safety, "gates": {"trained": gate}, "task": task, "proxy": None,
        "method": method, "seed": seed, "strategy": {"kind": "none"},
    }  # fmt: skip


def test_runs_of_a_grid(capsys, tmp_path):
    entries = [
        run_entry(method, seed, task, 0.1 * extra + 0.01 * seed + 0.02 * place)
        for place, task in enumerate("abcdefg")
        for extra, method in enumerate(("lora", "full", "ia3"))
        for seed in (0, 1)
    ]
    entries.append(run_entry("p-tuning", 0, "a", 0.9, gate=False))
    path = tmp_path / "validate.json"
    path.write_text(json.dumps({"runs": entries, "bounds": {}}))
    code, out, _ = run(capsys, tmp_path, "--json")
    assert code == 0
    safety, capability = json.loads(out)["comparisons"]
    assert (safety["evaluation"], capability["evaluation"]) == ("safety_gap", "capability_gap")
    assert safety["items"] == 7
    assert safety["friedman"]["kendall_w"] == pytest.approx(1.0)
    assert "a-p-tuning-0 (trained)" in safety["notes"][0]
    assert {m["label"]: m["tested"] for m in safety["methods"]} == {
        "lora": True, "full": True, "ia3": True, "p-tuning": False,
    }  # fmt: skip


@pytest.fixture
def experiment(tmp_path):
    """Three runs with records of behaviour beside theta_s; ia3's is behind a gate."""
    shift = {"theta_s": 0.0, "lora": 1.0, "full": 2.0, "ia3": 9.0}
    for method, more in shift.items():
        place = "behaviour/theta_s" if method == "theta_s" else f"runs/a-{method}-0/behaviour"
        items = tuple(
            ScoredItem(id=i, category="German", score=i + more * (1 + 0.1 * i)) for i in range(9)
        )
        result = EvaluationResult(evaluation="translation", label=method, items=items)
        result.save(tmp_path / place)
    (tmp_path / "experiment.json").write_text("{}")
    entries = [run_entry(m, 0, "a", 0.1, gate=m != "ia3") for m in ("lora", "full", "ia3")]
    (tmp_path / "validate.json").write_text(json.dumps({"runs": entries, "bounds": {}}))
    return tmp_path


def behaviour_of(experiment):
    return [experiment / "behaviour/theta_s", *sorted(experiment.glob("runs/*/behaviour"))]


def test_records_of_runs_behind_a_failed_gate_are_marked_and_not_tested(
    capsys, tmp_path, experiment
):
    out = tmp_path / "out"
    code, printed, _ = run(capsys, *behaviour_of(experiment), "--base", "theta_s", "--out", out)
    assert code == 0
    assert "ia3 \N{DAGGER}" in printed
    assert "a-ia3-0 (trained)" in printed
    content = json.loads((out / "compare.json").read_text())
    (found,) = content["comparisons"]
    methods = {m["label"]: m for m in found["methods"]}
    assert methods["ia3"]["failed_gates"] == ["trained"]
    assert methods["ia3"]["difference"] > methods["full"]["difference"]
    assert [m["tested"] for m in methods.values()] == [True, True, False, True]
    assert found["friedman"]["k"] == 3
    assert not any("ia3" in (p["first"], p["second"]) for p in found["pairs"])
    assert str((experiment / "validate.json").resolve()) in content["manifest"]["inputs"]
    for ending, mark in (("md", "\N{DAGGER}"), ("csv", "\N{DAGGER}"), ("tex", r"\textdagger{}")):
        for table in ("scores", "differences"):
            text = (out / f"translation_{table}.{ending}").read_text()
            assert f"ia3 {mark} (trained)" in text
            assert f"full {mark}" not in text


def test_runs_behind_a_failed_gate_are_tested_on_request(capsys, experiment):
    code, out, _ = run(capsys, *behaviour_of(experiment), "--keep-failed-gates", "--json")
    assert code == 0
    (found,) = json.loads(out)["comparisons"]
    assert found["friedman"]["k"] == 4
    assert {m["label"] for m in found["methods"] if m["failed_gates"]} == {"ia3"}


def test_runs_that_no_gate_has_judged_are_told(capsys, experiment):
    (experiment / "validate.json").unlink()
    code, out, _ = run(capsys, *behaviour_of(experiment), "--json")
    assert code == 0
    (found,) = json.loads(out)["comparisons"]
    assert found["friedman"]["k"] == 4
    assert "not judged by gates: a-full-0, a-ia3-0, a-lora-0" in found["notes"][0]


def test_the_help_says_what_n_is(capsys):
    with pytest.raises(SystemExit):
        main(["compare", "--help"])
    assert "pairs that differ" in " ".join(capsys.readouterr().out.replace("\u2502", " ").split())


BAD = {
    "nothing": ([], "nothing to compare"),
    "no such file": (["gone"], "no such file or folder"),
    "a folder of nothing": (["empty"], "holds no record"),
    "one method": (["base"], "nothing to compare"),
    "an unknown base": (["base", "lora", "--base", "dpo"], "label 'dpo'"),
    "another file": (["other.json"], "no record of an evaluation"),
    "BBQ without its contexts": (["a.json", "b.json"], "is not one of BBQ's"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_paragraph(capsys, tmp_path, monkeypatch, records, case):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "other.json").write_text('{"a": 1}')
    for label in "ab":
        items = tuple(ScoredItem(id=i, category="Age", score=1.0 - i) for i in range(2))
        EvaluationResult(evaluation="bbq", label=label, items=items).save(tmp_path / label)
        (tmp_path / label / "bbq.json").rename(tmp_path / f"{label}.json")
    arguments, message = BAD[case]
    code, out, err = run(capsys, *arguments, "--out", "tables")
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err
    assert not (tmp_path / "tables").exists()


def test_six_items_are_told_to_be_too_few(capsys, tmp_path):
    for label in ("base", "=lora\x1b[31m"):
        items = tuple(ScoredItem(id=i, score=float(i % 2)) for i in range(6))
        record = EvaluationResult(evaluation="refusal", label=label, items=items, share=True)
        record.save(tmp_path / label[:5].strip("="))
    out = tmp_path / "out"
    code, printed, _ = run(capsys, tmp_path / "base", tmp_path / "lora", "--out", out)
    assert code == 0
    words = " ".join(printed.split())
    assert "0.000 [0.000, 0.000]" not in words
    assert "=lora and base are undecided over 6 items (no item differs; n = 6 is small)" in words
    assert "\x1b" not in printed
    assert json.loads((out / "compare.json").read_text())["comparisons"][0]["headline"] == ""
    assert (out / "refusal_differences.csv").read_text().startswith("category,'=lora,")
