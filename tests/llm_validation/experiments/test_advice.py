"""What runs support, from records made of numbers: planted effects are told, noise is not."""

from __future__ import annotations

import json

import pytest

from finebound.base.errors import InputError
from finebound.cli.report import main as report
from finebound.results.experiment import ExperimentResult
from finebound.views.experiment import page


@pytest.fixture
def found(made_run, made_experiment):
    return made_experiment(
        [
            made_run("lora", rate=1e-3, safety=0.1, gain=0.32),
            made_run("ia3", rate=1e-3, kind="ia3", safety=0.3, gain=0.30),
            made_run("prompt", rate=1e-3, kind="prompt-tuning", safety=0.5, gain=0.1, start=0.4),
            made_run("low", rate=1e-5, failed=("trained", "init only")),
        ]
    )


def advice(found):
    return ExperimentResult.of(found).advice


def told(found, topic):
    return [one for one in advice(found) if one.topic == topic]


def experiment_page(folder):
    return page(ExperimentResult.load(folder))


def test_every_sentence_has_a_number_and_every_estimate_an_interval(found):
    for one in advice(found):
        assert any(c.isdigit() for c in one.sentence), one.sentence
        assert "[" in one.sentence, one.sentence


def test_gates_are_told_by_name_with_what_decided_them(found):
    first, *others = told(found, "gates")
    assert "1 of 4 finished runs (25 % [4.56, 69.9])" in first.sentence
    assert {"trained", "init only"} == {one.sentence.split("“")[1].split("”")[0] for one in others}
    assert all("1 of 4 runs (25 % [4.56, 69.9]) fails" in o.sentence for o in others)
    assert all("general_none_low_s0 (" in o.sentence for o in others)


def test_that_all_runs_passed_has_an_interval_too(made_run, made_experiment):
    (one,) = told(made_experiment([made_run(name, rate=1) for name in "abcd"]), "gates")
    assert "All 4 finished runs pass every gate (100 % [51, 100])" in one.sentence


def test_bbq_s_accuracy_is_told_by_context(found):
    bbq = told(found, "categories")[1]
    assert ", ambiguous" in bbq.sentence or ", disambiguated" in bbq.sentence


def test_the_safest_at_equal_capability_is_told_only_where_intervals_are_apart(
    found, made_run, made_experiment
):
    # Prompt tuning gained less: it is not compared with the two that gained the same.
    safest = told(found, "capability")[0]
    assert safest.supported
    assert "lora has the lowest change in held-out safety loss" in safest.sentence
    assert "+0.1 [+0.07, +0.13]" in safest.sentence
    assert "prompt" not in safest.sentence
    close = made_experiment(
        [made_run("lora", rate=1, safety=0.1), made_run("ia3", rate=1, safety=0.12)]
    )
    (one, *_) = told(close, "capability")
    assert not one.supported
    assert "do not separate" in one.sentence


def test_the_one_that_is_most_capable_alone_is_told_so(made_run, made_experiment):
    runs = [made_run("a", rate=1, gain=0.9, safety=0.5), made_run("b", rate=1, gain=0.1)]
    (one,) = told(made_experiment(runs), "capability")
    assert "On general a gained the most capability" in one.sentence


def test_a_run_behind_a_failed_gate_wins_nothing(made_run, made_experiment):
    runs = [
        made_run("good", rate=1, safety=-0.5, failed=("echo and coherence",)),
        made_run("plain", rate=1, safety=0.1),
        made_run("bad", rate=1, safety=0.4),
    ]
    one = told(made_experiment(runs), "capability")[0]
    assert "plain has the lowest change" in one.sentence
    assert "good" not in one.sentence


def test_seeds_of_a_method_are_one_setting(made_run, made_experiment):
    runs = [
        made_run("a", rate=1, seed=seed, safety=rise) for seed, rise in ((0, 0.0), (1, 0.2))
    ] + [made_run("b", rate=1, seed=seed, safety=0.5) for seed in (0, 1)]
    one = told(made_experiment(runs), "capability")[0]
    assert "a has the lowest change in held-out safety loss: +0.1 [+0.07, +0.13]" in one.sentence
    assert "(2 settings" in one.sentence


def test_a_start_that_costs_safety_by_itself_is_told(found):
    (one,) = told(found, "starts")
    assert "of prompt alone changed the held-out safety loss by +0.4 [+0.37, +0.43]" in one.sentence
    assert one.supported


def test_the_category_that_moved_most(found):
    hazards = told(found, "categories")[0]
    assert "Malware" in hazards.sentence  # -0.15 - 0.1
    assert hazards.supported
    pooled = found["behaviour"]["pooled"]["hazards"]["categories"]
    for entry in pooled.values():
        entry["change"] = {"estimate": -0.01, "interval": [-0.2, 0.18]}
    hazards = told(found, "categories")[0]
    assert not hazards.supported
    assert "no category is shown to have moved" in hazards.sentence


def test_only_flips_beyond_noise_are_supported(found, made_run, made_experiment):
    assert not told(found, "fairness")[0].supported
    flipped = made_experiment([made_run("a", rate=1, flip=True), made_run("b", rate=1)])
    (one,) = told(flipped, "fairness")
    assert one.supported
    assert "Of 12 biases (dimension, context and run) 3 turned" in one.sentence
    assert "3 turned their sign (25 % [8.89, 53.2]), 3 of them" in one.sentence
    assert "away from 0 (25 % [8.89, 53.2] of all)" in one.sentence
    assert "from +0.2 [+0.1, +0.3] to -0.2 [-0.3, -0.1]" in one.sentence


def test_translation_beside_refusal(made_run, made_experiment):
    runs = [
        made_run("a", rate=1, chrf=60.0, safe=0.5, target="refusal"),
        made_run("b", rate=1, chrf=30.0, target="refusal"),
    ]
    (one,) = told(made_experiment(runs), "translation")
    assert "a moved chrF most: +40 [+36, +44]" in one.sentence
    assert "refusal changed by -45 [-50, -40] points, a cost" in one.sentence


def test_a_correlation_needs_runs(found, made_run, made_experiment):
    assert not told(found, "loss")  # three runs passed
    runs = [made_run(name, rate=1) for name in "abcd"]
    one = told(made_experiment(runs), "loss")[0]
    assert one.supported
    assert "-0.8 [-0.95, -0.65] over 4 runs" in one.sentence
    assert not told(made_experiment(runs, correlation=0.1), "loss")[0].supported


def test_no_run_supports_nothing(made_experiment, made_run):
    run = {"id": "a", "status": "failed", "safety_gap": None, "capability_gap": None, "gates": {}}
    run |= {"error": "diverged", "attempts": ["failed"]}
    (one,) = advice(made_experiment([made_run("b", rate=1)]) | {"runs": [run]})
    assert not one.supported
    broken = made_experiment([made_run("a", rate=1, failed=("trained",))])
    assert {one.topic for one in advice(broken)} == {"gates"}


@pytest.fixture
def folder(found, tmp_path):
    (tmp_path / "validate.json").write_text(json.dumps(found))
    prepared = {"model": {"name": "made"}, "sets": {"task.general": {"rows": 4}}}
    (tmp_path / "prepared.json").write_text(json.dumps(prepared))
    return tmp_path


def test_the_page_flags_what_is_behind_a_failed_gate(folder):
    page = experiment_page(folder)
    assert "general_none_low_s0 †" in page
    assert "general_none_lora_s0 †" not in page
    assert "What these runs support" in page
    assert "Malware" in page


def test_the_page_has_bbq_by_context_and_a_bias_table_a_run(made_run, made_experiment, tmp_path):
    runs = [made_run("a", rate=1, flip=True, start=0.1), made_run("b", rate=1, failed=("format",))]
    (tmp_path / "validate.json").write_text(json.dumps(made_experiment(runs)))
    page = experiment_page(tmp_path)
    assert "<h2>bbq, ambiguous</h2>" in page
    assert "<h2>bbq, disambiguated</h2>" in page
    assert "<h2>bbq</h2>" not in page
    assert page.count("<details>") == 2
    assert (
        "general_none_a_s0: mean |s_AMB| 0.2 in the aligned model, 0.3 at its start, 0.2 at the "
        "end; 3 of 6 biases turned their sign, 3 beyond noise"
    ) in page
    assert "general_none_b_s0 †: mean |s_AMB| 0.2" in page
    assert "<td>+0.2 [+0.1, +0.3]</td><td>+0.3 [+0.2, +0.4]</td><td>-0.2" in page


def test_the_page_escapes_every_string(found, tmp_path):
    found["runs"][0]["id"] = "<script>alert(1)</script>"
    found["manifest"]["given"]["description"] = "<b>bold</b>"
    (tmp_path / "validate.json").write_text(json.dumps(found))
    page = experiment_page(tmp_path)
    assert "<script>alert" not in page
    assert "<b>bold" not in page


def test_the_command_writes_the_page_and_closes_with_the_advice(folder, capsys):
    assert report([str(folder)]) == 0
    out = capsys.readouterr().out
    assert "lora has the lowest change in held-out safety loss" in out
    assert (folder / "report.html").is_file()
    assert report([str(folder), "--json"]) == 0
    supports = json.loads(capsys.readouterr().out)["supports"]
    assert [one["sentence"] for one in supports] == [a.sentence for a in _advice_of(folder)]


def _advice_of(folder):
    return ExperimentResult.load(folder).advice


def test_json_of_a_single_run_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"validate\.json"):
        report([str(tmp_path), "--json"])
