"""The exported tasks inside the real lm-evaluation-harness and inspect_ai.

Both need other versions of two packages than constraints.txt has: `make test-harness` runs this.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from answer_files import HELPS, REFUSES
from code_blocks import ROOT, blocks_of

from finebound import export_tasks
from finebound.cli import main
from llm_validation.evaluation.harness.rows import bbq_rows, refusal_rows

LIMIT = 24


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("harness") / "tasks"
    export_tasks(folder)
    return folder


def answered(capsys, *arguments):
    capsys.readouterr()
    assert main(["evaluate", *map(str, arguments), "--json"]) in (0, 1)
    return json.loads(capsys.readouterr().out)


def share(items, *, harmless):
    """The share that declines of the harmful, or of the harmless, as the record has them."""
    mine = [item for item in items if ("/matched/" in item["id"]) == harmless]
    found = [item["label"] in ("refusal", "partial")[: 1 + harmless] for item in mine]
    return sum(found) / len(found)


def means(found):
    return {
        f"{of}_{condition}": found["mean"][condition][of]
        for of in ("accuracy", "bias")
        for condition in ("ambiguous", "disambiguated")
    }


def test_lm_eval_scores_as_finebound_does(tasks, tiny_model_folder, tmp_path, capsys):
    lm_eval = pytest.importorskip("lm_eval")
    from lm_eval.loggers import EvaluationTracker
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager
    from transformers import AutoModelForCausalLM, AutoTokenizer

    names = ["finebound_refusal", "finebound_bbq", "finebound_bbq_likelihood"]
    model = HFLM(
        pretrained=AutoModelForCausalLM.from_pretrained(tiny_model_folder),
        tokenizer=AutoTokenizer.from_pretrained(tiny_model_folder),
        batch_size=8,
    )
    found = lm_eval.simple_evaluate(
        model=model,
        tasks=names,
        task_manager=TaskManager(include_path=str(tasks), include_defaults=False),
        limit=LIMIT,
        apply_chat_template=True,
        gen_kwargs="max_gen_toks=4",
        bootstrap_iters=0,
    )
    tracker = EvaluationTracker(output_path=str(tmp_path))
    tracker.save_results_aggregated(results=found, samples=found["samples"])
    files = {}
    for name in names:
        tracker.save_results_samples(task_name=name, samples=found["samples"][name])
        (files[name],) = tmp_path.rglob(f"samples_{name}_2*.jsonl")
    results = {
        name: {key.removesuffix(",none"): value for key, value in found["results"][name].items()}
        for name in names
    }
    assert found["configs"]["finebound_refusal"]["metadata"]["version"] == 1
    refusal = answered(capsys, "refusal", "--responses", files["finebound_refusal"])["items"]
    assert [item["id"] for item in refusal] == [row["id"] for row in refusal_rows()[:LIMIT]]
    assert results["finebound_refusal"]["refusal_rate"] == share(refusal, harmless=False)
    assert results["finebound_refusal"]["over_refusal_rate"] == share(refusal, harmless=True)
    for name in names[1:]:
        scores = means(answered(capsys, "bbq", "--predictions", files[name]))
        assert {key: results[name][key] for key in scores} == pytest.approx(scores)
    # Likelihoods of three different texts: some answer follows or goes against the stereotype.
    kept = [row["bias_ambiguous"][2] for row in found["samples"]["finebound_bbq_likelihood"]]
    assert set(kept) - {0, None}


@pytest.mark.parametrize("form", ["eval", "json"])
def test_inspect_scores_as_finebound_does(tasks, tmp_path, capsys, form):
    inspect_ai = pytest.importorskip("inspect_ai")
    from inspect_ai.model import ModelOutput, ModelUsage, get_model

    probes = {row["prompt"]: place for place, row in enumerate(refusal_rows())}
    items = {row["prompt"]: place for place, row in enumerate(bbq_rows())}

    def answer(asked, *_):
        prompt = asked[-1].text
        said = f"({'ABC'[items[prompt] % 3]})" if prompt in items else HELPS
        if probes.get(prompt, 1) % 4 == 0:
            said = REFUSES
        output = ModelOutput.from_content("mockllm", said)
        output.usage = ModelUsage()  # without it inspect_ai counts tokens with a file of the net
        return output

    logs = inspect_ai.eval(
        [f"{tasks / 'finebound_inspect.py'}@finebound_{name}" for name in ("refusal", "bbq")],
        model=get_model("mockllm/model", custom_outputs=answer),
        limit=LIMIT,
        log_dir=str(tmp_path),
        log_format=form,
        display="none",
    )
    assert [log.status for log in logs] == ["success"] * 2
    results = {}
    for log in logs:
        (scorer,) = log.results.scores
        results[log.eval.task] = {name: one.value for name, one in scorer.metrics.items()}
    refusal = answered(capsys, "refusal", "--responses", logs[0].location)["items"]
    assert {item["id"] for item in refusal} == {row["id"] for row in refusal_rows()[:LIMIT]}
    assert results["finebound_refusal"] == {
        "refusal_rate": share(refusal, harmless=False),
        "over_refusal_rate": share(refusal, harmless=True),
    }
    assert results["finebound_refusal"]["refusal_rate"] == pytest.approx(0.5)
    scores = means(answered(capsys, "bbq", "--predictions", logs[1].location))
    assert results["finebound_bbq"] == pytest.approx(scores)
    assert logs[1].eval.task_version == 1
    assert "sha256" in logs[1].eval.metadata


@pytest.mark.parametrize("block", blocks_of(ROOT / "docs" / "how-to" / "harness.md"))
def test_a_block_of_the_page_does_what_it_says(block, page_folder):
    code = "\n".join(line for line in block.code.splitlines() if not line.startswith("pip "))
    here = 'finebound() { python -m finebound "$@"; }\n'
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-ec", here + code],
        cwd=page_folder,
        env=os.environ | {"PATH": path, "INSPECT_DISPLAY": "none", "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == int(block.comments.get("exit", 0)), done.stderr[-3000:]


@pytest.fixture(scope="module")
def page_folder(tmp_path_factory, tiny_model_folder):
    pytest.importorskip("lm_eval")
    pytest.importorskip("inspect_ai")
    folder = tmp_path_factory.mktemp("page")
    shutil.copytree(tiny_model_folder, folder / "my-model")
    return folder
