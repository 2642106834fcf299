"""Behaviour of an experiment's models: theta_s, starts that are not theta_s, ends of runs."""

from __future__ import annotations

import copy
import dataclasses
import json

import numpy as np
import pytest
from finished_experiments import finish
from pydantic import ValidationError
from unsealed import unsealed

from finebound.base.errors import InputError
from finebound.base.progress import silent
from finebound.results.evaluation import EvaluationResult
from finebound.results.experiment import ExperimentResult
from finebound.views.experiment import page as experiment_page
from finebound.views.experiment_terminal import print_experiment
from llm_validation.data.builtin.requests import HARMLESS
from llm_validation.evaluation import asking
from llm_validation.experiments import behaviour as room
from llm_validation.experiments import behaviour_parts
from llm_validation.experiments.behaviour_settings import Behaviour
from llm_validation.experiments.behaviour_summary import paired_difference
from llm_validation.experiments.config import expand, experiment_of, read_experiment
from llm_validation.experiments.run import execute, is_done, run_folder

PARTS = {"refusal", "hazards", "bbq", "translation"}


@pytest.fixture(scope="session")
def behaved(methods_content, tmp_path_factory):
    """That experiment, finished; not to be changed."""
    folder = tmp_path_factory.mktemp("behaviour")
    return finish(methods_content, folder / "out", cache=folder / "cache")


@pytest.fixture(scope="session")
def record(behaved):
    return json.loads((behaved.prepared.out / "validate.json").read_text())


def entry(record, method):
    return next(run for run in record["runs"] if run["method"] == method)


def test_without_the_section_configurations_and_hashes_are_what_they_were(methods_content):
    plain = {k: v for k, v in methods_content.items() if k != "behaviour"}
    asked, not_asked = (expand(experiment_of(c)) for c in (methods_content, plain))
    assert [run.sha256 for run in asked] == [run.sha256 for run in not_asked]
    assert experiment_of(plain).behaviour is None


@pytest.mark.parametrize(
    ("section", "named"),
    [
        ({}, "name refusal"),
        ({"hazard": {}}, "hazard"),
        ({"bbq": {"by": "luck"}}, "by"),
        ({"bbq": {}, "checkpoints": {"at": [0.5], "parts": ["refusal"]}}, "not asked for"),
        ({"bbq": {}, "checkpoints": {"at": [1.0]}}, "at"),
        ({"bbq": {}, "checkpoints": {"at": []}}, "at"),
    ],
)
def test_a_wrong_section_is_refused_by_name(section, named, methods_content):
    with pytest.raises(ValidationError, match=named):
        Behaviour.model_validate(section)
    with pytest.raises(InputError, match="behaviour"):
        experiment_of({**methods_content, "behaviour": section})


def test_theta_s_one_shared_start_and_every_end_have_a_record_a_part(behaved):
    out = behaved.prepared.out
    assert {f.stem for f in (out / "behaviour/theta_s").glob("*.json")} >= PARTS
    (start,) = (out / "behaviour/starts").iterdir()  # of both rates of prompt tuning
    assert start.name.startswith("prompt-tuning-")
    for run in expand(behaved.prepared.experiment):
        for part in PARTS:
            result = EvaluationResult.load(run_folder(out, run.id) / "behaviour" / f"{part}.json")
            assert result.evaluation == part
            assert result.label == run.method


def test_compare_reads_the_records(behaved, capsys):
    from finebound.cli.compare import main

    out = behaved.prepared.out
    folders = [out / "behaviour/theta_s", *(out / "runs").glob("*/behaviour")]
    assert main([*map(str, folders), "--base", "theta_s", "--json"]) == 0
    found = {c["evaluation"]: c for c in json.loads(capsys.readouterr().out)["comparisons"]}
    assert set(found) >= PARTS
    assert {m["label"] for m in found["hazards"]["methods"]} == {
        "theta_s", "lora", "prompt-low", "prompt-high", "ia3", "dpo",
    }  # fmt: skip


def test_validate_json_has_every_number_with_its_interval(record, behaved):
    found = entry(record, "prompt-high")["behaviour"]
    assert set(found) >= PARTS
    for part in PARTS:
        for who in ("end", "theta_s", "start", "change", "start_change", "training_change"):
            low, high = map(float, found[part][who]["interval"])
            assert low <= found[part][who]["estimate"] <= high
    assert len(found["hazards"]["categories"]) == 11
    assert len(found["bbq"]["bias"]["categories"]) == 9
    assert entry(record, "lora")["behaviour"]["hazards"]["start"] is None
    assert 0.0 <= found["translation"]["corpus_chrf"]["estimate"] <= 100.0
    hazards = EvaluationResult.load(behaved.prepared.out / "behaviour/theta_s/hazards.json")
    mean = sum(item.score for item in hazards.items) / len(hazards.items)
    assert found["hazards"]["theta_s"]["estimate"] == pytest.approx(mean)


def test_behaviour_half_way_is_that_of_the_model_half_way(record, behaved):
    run = entry(record, "lora")
    found = run["behaviour"]
    assert [c["step"] for c in found["refusal"]["checkpoints"]] == [2]
    assert found["hazards"]["checkpoints"] == []  # not among the parts
    (half_way,) = found["translation"]["checkpoints"]
    low, high = half_way["change"]["interval"]
    assert low <= half_way["change"]["estimate"] <= high
    assert half_way["fraction"] == 0.5
    # The model that answered had that step's losses, and neither the start's nor the end's.
    folder = run_folder(behaved.prepared.out, run["id"]) / "behaviour"
    losses = {
        when: EvaluationResult.load(folder / place / "refusal.json").report["check_loss"]
        for when, place in (("half way", "step-000002"), ("end", "."))
    }
    assert abs(losses["half way"] - losses["end"]) > 1e-3
    assert run["gates"]["evaluated what was trained"]


def test_another_model_s_behaviour_half_way_fails_its_gate(behaved):
    from llm_validation.experiments.gates import gates_of
    from llm_validation.experiments.run import read_measured

    run = next(r for r in expand(behaved.prepared.experiment) if r.method == "lora")
    measured = read_measured(run, behaved.prepared)
    swapped = dataclasses.replace(measured, checkpoint_behaviour={2: measured.behaviour})

    def passes(m):
        gates = gates_of(m, behaved.prepared, shortfall=None, equal_budget=True)
        return gates["evaluated what was trained"].passed

    assert passes(measured)
    assert not passes(swapped)


def test_behaviour_is_asked_for_where_the_losses_are_measured(methods_content):
    section = {**methods_content["behaviour"], "checkpoints": {"at": [0.75]}}
    with pytest.raises(InputError, match=r"0\.75"):
        experiment_of({**methods_content, "behaviour": section})


def test_a_start_that_is_not_theta_s_is_told_apart_from_its_training(record):
    low = entry(record, "prompt-low")
    # Nothing was learnt at this rate: end and start are the same, and not theta_s.
    assert low["own_start"]["safety_gap"] == pytest.approx(low["safety_gap"], abs=1e-3)
    assert low["safety_gap"] != 0.0
    assert not low["gates"]["trained"]
    assert not low["gates"]["init only"]
    assert "start alone" in low["gate_details"]["init only"]
    assert entry(record, "lora")["own_start"] is None
    assert entry(record, "lora")["gates"]["init only"]
    assert entry(record, "ia3")["gates"]["init only"]


def test_all_nine_gates_are_named_on_every_run(record):
    nine = {
        "trained", "init only", "config against log", "format", "echo and coherence",
        "number format", "evaluated what was trained", "equal budgets", "generation",
    }  # fmt: skip
    for run in record["runs"]:
        assert nine <= set(run["gates"])
        assert set(run["gates"]) == set(run["gate_details"])
        assert run["gates"]["evaluated what was trained"], run["gate_details"]
        assert run["gates"]["equal budgets"]
        assert run["gates"]["number format"]


def test_pooled_changes_and_correlations_are_over_sound_runs(record):
    found = record["behaviour"]
    sound = [r for r in record["runs"] if all(r["gates"].values())]
    for name, entry in found["correlations"].items():
        assert entry["all"]["n"] == len(record["runs"]), name
        assert entry["passed"]["n"] == len(sound)
    pooled = found["pooled"]["hazards"]
    assert (pooled is None) == (not sound)


def test_a_record_that_is_there_is_not_made_again(behaved, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("asked again")

    monkeypatch.setattr("llm_validation.evaluation.generation.generate", refuse)
    monkeypatch.setattr("llm_validation.evaluation.fairness.answering.by_likelihood", refuse)
    prepared = behaved.prepared
    runs = expand(prepared.experiment)
    room.measure_starts(prepared, runs)
    for run in runs:
        assert is_done(run, prepared)
        execute(run, prepared)


def test_behaviour_asked_for_later_is_made_of_finished_runs(
    methods_content, behaved, tmp_path, monkeypatch
):
    """The adapter is read back, and what it answers is what the trained model answered."""
    import shutil

    from llm_validation.experiments.prepare import read_prepared

    out = tmp_path / "out"
    shutil.copytree(behaved.prepared.out, out)
    prepared = read_prepared(behaved.prepared.experiment, out)
    runs = {run.method: run for run in expand(prepared.experiment)}
    for method in ("prompt-high", "dpo"):
        # As a run was recorded that nobody had asked for its behaviour.
        folder = unsealed(run_folder(out, runs[method].id))
        was = {part: EvaluationResult.load(folder / "behaviour" / f"{part}.json") for part in PARTS}
        finished = json.loads((folder / "record.json").read_text())
        shutil.rmtree(folder / "behaviour")
        assert not is_done(runs[method], prepared)
        monkeypatch.setattr(asking, "answer_cache", lambda: tmp_path / "another cache")
        execute(runs[method], prepared)
        for part in PARTS:
            now = EvaluationResult.load(folder / "behaviour" / f"{part}.json")
            assert [i.score for i in now.items] == [i.score for i in was[part].items], part
            assert now.report["check_loss"] == pytest.approx(
                was[part].report["check_loss"], abs=1e-5
            )
        assert json.loads((folder / "record.json").read_text()) == finished


def asked_of_theta_s(behaved, methods_content, folder, section):
    experiment = experiment_of({**methods_content, "behaviour": section})
    prepared = behaved.prepared
    loaded = prepared.load_aligned()
    return behaviour_parts.AskedModel(loaded, prepared, experiment.behaviour, folder, "x", silent)


def test_a_judge_that_answers_nonsense_makes_errors_and_nothing_safe(
    behaved, methods_content, tiny_model_folder, tmp_path
):
    judged = {"judge": "llama-guard-2", "judge_model": str(tiny_model_folder)}
    section = {"hazards": {"a_category": 1, "harmless": 0, "max_new_tokens": 4, **judged}}
    (record,) = asked_of_theta_s(behaved, methods_content, tmp_path, section).hazards()
    assert {item.more["outcome"] for item in record.items} <= {"error", "echo", "degenerate"}
    assert "error" in {item.more["outcome"] for item in record.items}
    assert all(item.score in (None, 0.0) for item in record.items)
    section["hazards"]["judge"] = "oracle"
    with pytest.raises(InputError, match="no judge 'oracle'"):
        asked_of_theta_s(behaved, methods_content, tmp_path, section).hazards()


def test_bbq_by_generation_keeps_the_answers(behaved, methods_content, tmp_path):
    section = {"bbq": {"a_cell": 1, "by": "generation", "max_new_tokens": 2}}
    (record,) = asked_of_theta_s(behaved, methods_content, tmp_path, section).bbq()
    lines = (tmp_path / "responses" / "bbq.jsonl").read_text().splitlines()
    assert len(lines) == len(record.items) == 18


def test_records_of_earlier_settings_are_not_read(behaved, methods_content):
    section = {**methods_content["behaviour"], "bbq": {"a_cell": 2}}
    del section["hazards"]
    experiment = experiment_of({**methods_content, "behaviour": section})
    prepared = dataclasses.replace(behaved.prepared, experiment=experiment)
    folder = prepared.out / "behaviour" / "theta_s"
    assert set(room.read_records(prepared, folder)) <= {"refusal", "look-alikes", "translation"}
    assert not room.is_complete(prepared, folder)
    assert set(room.read_records(behaved.prepared, folder)) >= PARTS


def test_prompts_that_were_trained_on_are_not_asked(behaved, methods_content):
    section = copy.deepcopy(methods_content["behaviour"])
    section["refusal"] = {"prompts": "builtin:safety", "max_new_tokens": 1}
    experiment = experiment_of({**methods_content, "behaviour": section})
    asked = behaviour_parts.AskedModel(
        None, behaved.prepared, experiment.behaviour, None, "x", None
    )
    found = asked._refusal_prompts(experiment.behaviour.refusal)
    trained = set(behaved.prepared.sets["safety"].prompts)
    assert not trained & set(found.prompts)
    assert "trained on left out" in found.source


def test_prompts_without_a_harmful_one_are_refused(behaved, methods_content, tmp_path):
    file = tmp_path / "harmless.jsonl"
    file.write_text(json.dumps({"prompt": "How do I bake bread?", "category": HARMLESS}) + "\n")
    section = {"refusal": {"prompts": str(file), "max_new_tokens": 1}}
    asked = asked_of_theta_s(behaved, methods_content, tmp_path, section)
    with pytest.raises(InputError, match=r"harmless\.jsonl is harmful"):
        asked.refusal()


def _same_keys(made, real, where=""):
    if isinstance(made, dict) and isinstance(real, dict):
        for key in made:
            if where.rpartition(".")[2] in (
                "categories",
                "loss_change",
                "gates",
                "given",
                "method",
            ):
                return
            assert key in real, f"{where}.{key}"
            _same_keys(made[key], real[key], f"{where}.{key}")


def test_entries_made_of_numbers_have_the_shape_of_real_ones(record, made_run, made_experiment):
    made = made_run("prompt", rate=1, start=0.1, chrf=30.0)
    real = entry(record, "prompt-high")
    _same_keys(made, real)
    kind = {"estimate", "interval"}
    for part in ("hazards", "bbq", "translation"):
        assert set(real["behaviour"][part]["change"]) == kind
        assert set(made["behaviour"][part]) == set(real["behaviour"][part])
        one, other = (
            next(iter(found["behaviour"][part]["categories"].values())) for found in (made, real)
        )
        assert set(one) == set(other)
    bias = real["behaviour"]["bbq"]["bias"]["categories"]["Age"]["ambiguous"]
    assert set(made["behaviour"]["bbq"]["bias"]["categories"]["Age"]["ambiguous"]) == set(bias)
    _same_keys(made_experiment([made])["behaviour"]["correlations"]["bbq bias"],
               record["behaviour"]["correlations"]["bbq bias"])  # fmt: skip


def test_the_page_of_a_real_experiment(behaved):
    page = experiment_page(behaved.result)
    assert page == experiment_page(ExperimentResult.load(behaved.prepared.out))
    assert "What these runs support" in page
    assert "prompt-low" in page


def test_report_puts_the_figures_beside_the_page(behaved, tmp_path, capsys):
    from finebound.cli import main

    assert main(["report", str(behaved.prepared.out), "--out", str(tmp_path)]) == 0
    assert "figures" in capsys.readouterr().out
    assert (tmp_path / "report.html").is_file()
    drawn = {file.stem for file in (tmp_path / "figures").glob("*.png")}
    assert {"method_tradeoff", "hazard_heatmap", "bbq_dots", "refusal_chrf", "init_only"} <= drawn


def test_the_terminal_shows_each_evaluation(behaved, capsys):
    print_experiment(behaved.result, behaved.prepared.out)
    out = capsys.readouterr().out
    assert "hazards: 1 = a safe answer" in out
    assert "general_none_prompt-low_s0 †" in out


@pytest.mark.parametrize(
    "name",
    [
        "peft_safety_fairness",
        "peft_safety_fairness_wide",
        "peft_safety_fairness_full",
        "translation_degradation",
        "translation_degradation_wide",
        "translation_degradation_full",
    ],
)
def test_presets_expand_at_equal_budgets(name):
    experiment = read_experiment(name)
    runs = expand(experiment)
    assert {(r.plan.steps, r.plan.batch_size) for r in runs} == {
        (experiment.training["steps"], experiment.training["batch_size"])
    }
    kinds = {run.plan.method.kind for run in runs}
    assert kinds == (
        {"lora", "ia3", "prompt-tuning", "p-tuning"}
        if "peft" in name
        else {"full", "lora", "qlora"}
    )
    assert any(run.plan.objective is not None for run in runs)
    has_four = name in ("translation_degradation_wide", "translation_degradation_full")
    assert len({run.plan.learning_rate for run in runs}) == (4 if has_four else 2)
    assert experiment.behaviour is not None
    if not name.endswith(("_full", "_wide")):
        assert experiment.minutes <= 30
        assert "Budget" in experiment.description


@pytest.mark.parametrize("name", ["peft_safety_fairness", "translation_degradation"])
def test_the_wide_preset_goes_on_in_the_small_one_s_folder(name):
    """Its runs and what is asked of them are the small one's, and more."""
    small, wide = read_experiment(name), read_experiment(f"{name}_wide")
    known = {run.id: run.sha256 for run in expand(wide)}
    assert {run.id: known.get(run.id) for run in expand(small)} == {
        run.id: run.sha256 for run in expand(small)
    }
    assert len(known) > len(expand(small))
    assert wide.behaviour == small.behaviour
    assert wide.alignment == small.alignment


def pairs_of(rose, fell, same):
    return [(1.0, 0.0)] * rose + [(0.0, 1.0)] * fell + [(1.0, 1.0)] * same


def test_a_change_of_a_share_has_bonett_and_price_s_interval():
    found = paired_difference(pairs_of(3, 1, 6), is_share=True, rng=np.random.default_rng(0))
    p, q, n = 4 / 12, 2 / 12, 12
    half = 1.959964 * np.sqrt((p + q - (p - q) ** 2) / n)
    assert found.estimate == pytest.approx(0.2)
    assert (found.lower, found.upper) == pytest.approx((p - q - half, p - q + half), abs=1e-6)


def test_items_that_all_stayed_the_same_leave_doubt():
    few, many = (
        paired_difference(pairs_of(0, 0, n), is_share=True, rng=np.random.default_rng(0))
        for n in (10, 1000)
    )
    assert few.estimate == many.estimate == 0.0
    assert few.lower < -0.1 < many.lower < 0.0 < many.upper < 0.1 < few.upper
    rising = paired_difference(pairs_of(9, 0, 1), is_share=True, rng=np.random.default_rng(0))
    assert rising.lower > 0.0


@pytest.mark.parametrize("true_change", [0.0, 0.3])
def test_the_interval_covers_the_true_change(true_change):
    rng = np.random.default_rng(5)
    covered = 0
    for _ in range(400):
        old = rng.random(22) < 0.5
        new = np.where(rng.random(22) < 0.5 + true_change, 1.0, 0.0)
        found = paired_difference(
            list(zip(new, old.astype(float), strict=True)), is_share=True, rng=rng
        )
        covered += found.lower <= true_change <= found.upper
    assert covered >= 0.93 * 400
