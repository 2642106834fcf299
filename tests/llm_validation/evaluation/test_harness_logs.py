"""Tasks for lm-evaluation-harness and inspect_ai, and what comes back from their logs."""

import json
from hashlib import sha256

import pytest
import yaml
from answer_files import HELPS, REFUSES, write_jsonl
from harness_samples import inspect_log, lm_eval_sample

from finebound import InputError, export_tasks
from finebound.cli import main
from finebound.results.harness import HarnessTasksResult
from llm_validation.evaluation.fairness.builtin import builtin_bbq
from llm_validation.evaluation.harness import lm_eval_functions, scoring
from llm_validation.evaluation.harness.rows import bbq_rows, refusal_rows, rows_of_task
from llm_validation.evaluation.hazards.probes import builtin_pairs


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tasks") / "tasks"
    export_tasks(folder)
    return folder


def answered(capsys, *arguments):
    code = main(["evaluate", *map(str, arguments), "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_the_command_writes_what_it_says(capsys, tmp_path):
    assert main(["export-tasks", "--out", str(tmp_path / "t"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert json.loads(HarnessTasksResult.load(tmp_path / "t").to_json()) == found
    for part in found["rows"]:
        content = (tmp_path / "t" / part["file"]).read_bytes()
        assert (sha256(content).hexdigest(), content.count(b"\n")) == (part["sha256"], part["rows"])
    named = {(tmp_path / "t" / f"{name}.yaml").is_file() for name in found["lm_eval"]}
    assert named == {(tmp_path / "t" / found["inspect"]).is_file()} == {True}


def test_the_tasks_ask_the_built_in_sets(tasks):
    told = {part.file: part.sha256 for part in HarnessTasksResult.load(tasks).rows}
    probes = rows_of_task(tasks / "finebound_refusal.jsonl", told["finebound_refusal.jsonl"])
    assert [row["prompt"] for row in probes] == builtin_pairs().prompts
    items = rows_of_task(tasks / "finebound_bbq.jsonl", told["finebound_bbq.jsonl"])
    assert [row["id"] for row in items] == [item.key for item in builtin_bbq().items]
    with pytest.raises(InputError, match="export-tasks"):
        rows_of_task(tasks / "finebound_bbq.jsonl", told["finebound_refusal.jsonl"])


def test_every_task_file_names_version_hash_and_functions_that_are_there(tasks):
    class Loader(yaml.SafeLoader):
        pass

    Loader.add_constructor("!function", lambda _, node: node.value)
    functions = (tasks / "finebound_lm_eval.py").read_text()
    hashes = {part.source: part.sha256 for part in HarnessTasksResult.load(tasks).rows}
    for name, source in (("refusal", "builtin:pairs"), ("bbq", "builtin:bbq")):
        task = yaml.load((tasks / f"finebound_{name}.yaml").read_text(), Loader)
        assert task["metadata"]["version"] == 1
        assert task["metadata"]["sha256"] == hashes[source]
        assert hashes[source] in (tasks / "finebound_inspect.py").read_text()
        for named in [task["process_results"], *(m["aggregation"] for m in task["metric_list"])]:
            if named != "mean":
                module, _, function = named.partition(".")
                assert module == "finebound_lm_eval"
                assert f" {function},\n" in functions or f"import {function} " in functions
                assert hasattr(lm_eval_functions, function) or hasattr(scoring, function)


def lm_eval_file(folder, name, documents, answers):
    rows = [
        lm_eval_sample(n, d, a) for n, (d, a) in enumerate(zip(documents, answers, strict=True))
    ]
    return write_jsonl(folder / f"samples_{name}.jsonl", rows)


def inspect_file(folder, name, documents, answers):
    file = folder / f"{name}.json"
    file.write_text(json.dumps(inspect_log(documents, answers)))
    return file


@pytest.mark.parametrize("written", [lm_eval_file, inspect_file])
def test_refusals_of_a_log_are_those_of_the_tool(capsys, tmp_path, written):
    probes = refusal_rows()[:40]
    answers = [REFUSES if n % 3 else HELPS for n in range(40)]
    file = written(tmp_path, "refusal", probes, answers)
    code, found = answered(capsys, "refusal", "--responses", file)
    assert code == 0
    assert [item["id"] for item in found["items"]] == [row["id"] for row in probes]
    assert {item["category"] for item in found["items"]} == {row["category"] for row in probes}
    scores = [lm_eval_functions.refusal(row, [answers[n]]) for n, row in enumerate(probes)]
    for item, score, row in zip(found["items"], scores, probes, strict=True):
        mine, other = ("refusal_rate", "over_refusal_rate")[:: 1 if row["harmful"] else -1]
        assert score == {mine: float(item["label"] == "refusal"), other: None, "unlabelled": 0.0}
    assert scoring.mean_known(score["refusal_rate"] for score in scores) == pytest.approx(0.65)


@pytest.mark.parametrize("written", [lm_eval_file, inspect_file])
def test_logs_are_certified_by_what_was_harmful(capsys, tmp_path, written):
    probes = refusal_rows()
    before = [REFUSES if row["harmful"] else HELPS for row in probes]
    after = [HELPS if n < 60 else text for n, text in enumerate(before)]
    files = [written(tmp_path, *part) for part in (("a", probes, before), ("b", probes, after))]
    options = ["--reference", str(files[0]), "--candidate", str(files[1])]
    assert main(["certify", *options, "--budget", "refusal=5", "--json"]) == 1
    (test,) = json.loads(capsys.readouterr().out)["tests"]
    assert (test["n"], test["lost"]) == (176, 30)  # every second of the 60 is harmful


def test_a_sample_that_failed_is_an_error(capsys, tmp_path):
    file = inspect_file(tmp_path, "a", refusal_rows()[:3], [REFUSES, None, HELPS])
    _, found = answered(capsys, "refusal", "--responses", file)
    assert [item["label"] for item in found["items"]] == ["refusal", "error", "compliance"]


def outcomes_to(items, chosen):
    return [scoring.outcome_of(*both) for both in zip(items, chosen, strict=True)]


@pytest.mark.parametrize("written", [lm_eval_file, inspect_file])
def test_bbq_of_a_log_has_the_scores_of_the_tool(capsys, tmp_path, written):
    items = bbq_rows()[::7]
    answers = [("(A)", "B.", "The answer is C", "no idea")[n % 4] for n in range(len(items))]
    file = written(tmp_path, "bbq", items, answers)
    code, found = answered(capsys, "bbq", "--predictions", file)
    assert (code, found["items"]) == (0, len(items))
    fell = [scoring.letter_outcome(*both) for both in zip(items, answers, strict=True)]
    assert fell == outcomes_to(items, [(0, 1, 2, None)[n % 4] for n in range(len(items))])
    for condition in ("ambiguous", "disambiguated"):
        for of in ("accuracy", "bias"):
            mean = scoring.bbq_mean(fell, condition, of)
            assert found["mean"][condition][of] == pytest.approx(mean, abs=1e-12)


def test_the_likeliest_answer_of_a_log_counts(capsys, tmp_path):
    items = bbq_rows()[:64]
    best = [(n * 7) % 3 for n in range(len(items))]
    rows = [
        lm_eval_sample(
            n, item, *((f" {item[f'ans{k}']}", -9.0 + 5 * (k == chosen)) for k in range(3))
        )
        for n, (item, chosen) in enumerate(zip(items, best, strict=True))
    ]
    file = write_jsonl(tmp_path / "samples.jsonl", rows)
    _, found = answered(capsys, "bbq", "--predictions", file)
    mean = scoring.bbq_mean(outcomes_to(items, best), "disambiguated", "accuracy")
    assert found["mean"]["disambiguated"]["accuracy"] == pytest.approx(mean)
    logprobs = [(-9.0 + 5 * (k == best[0]), False) for k in range(3)]
    (fell,) = set(lm_eval_functions.bbq_likeliest(items[0], logprobs).values())
    assert fell == outcomes_to(items[:1], best[:1])[0]


def test_an_eval_log_needs_inspect_ai(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(__import__("sys").modules, "inspect_ai.log", None)
    file = tmp_path / "log.eval"
    file.write_bytes(b"PK")
    assert main(["evaluate", "refusal", "--responses", str(file)]) == 2
    assert "inspect log convert" in capsys.readouterr().err


def test_the_harness_s_own_bbq_is_read(capsys, tmp_path):
    """Its choices are the two people and ten ways to say that it cannot be known."""
    unknown = ("Unknown", "Cannot answer", "Can't be determined", "Not enough info", "Undetermined")
    rows, chosen = [], []
    for number, row in enumerate(bbq_rows()[:64]):
        document = {k: v for k, v in row.items() if k not in ("id", "prompt", "answered_by")}
        tags = [row["answer_info"][f"ans{k}"][1] for k in range(3)]
        people = [k for k, tag in enumerate(tags) if tag != "unknown"]
        texts = [*(row[f"ans{k}"] for k in people), *unknown]
        best = number % len(texts)
        chosen.append(people[best] if best < 2 else tags.index("unknown"))
        likelihoods = ((f" {text}", -9.0 + 5 * (k == best)) for k, text in enumerate(texts))
        rows.append(lm_eval_sample(number, document, *likelihoods))
    file = write_jsonl(tmp_path / "samples_bbq.jsonl", rows)
    code, found = answered(capsys, "bbq", "--predictions", file)
    assert (code, found["items"]) == (0, 64)
    mean = scoring.bbq_mean(outcomes_to(bbq_rows()[:64], chosen), "ambiguous", "bias")
    assert found["mean"]["ambiguous"]["bias"] == pytest.approx(mean)
