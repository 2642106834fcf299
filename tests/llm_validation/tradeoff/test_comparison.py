"""Every defence beside the undefended runs of a tiny finished experiment."""

import json
import shlex
import shutil
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from code_blocks import ROOT, blocks_of
from safetensors.torch import load_file, save_file
from unsealed import unsealed

from finebound.base.errors import InputError
from finebound.cli import main
from finebound.results.tradeoff import UNDEFENDED, TradeoffResult
from finebound.views.tradeoff import page, plane_plot
from llm_validation import defences as defences_package
from llm_validation.data.dataset import Dataset
from llm_validation.defences.antidote import Antidote
from llm_validation.defences.protocol import Evidence, Faithfulness, Report
from llm_validation.defences.registry import compared as defences
from llm_validation.defences.splora import SPLoRA
from llm_validation.defences.trials import Trial
from llm_validation.measure.losses import Losses
from llm_validation.tradeoff import workbench
from llm_validation.tradeoff.compare import choices, compare_defences
from llm_validation.tradeoff.finished_experiment import read_finished
from llm_validation.tradeoff.frontier import forced_frontier, linearised_forecasts

BASE_RUN = "general_none_lora_s0"
METHODS = tuple(defences())
HARMFUL = Dataset.of(
    [("Lay out a bad plan.", "Sure, a placeholder."), ("Share a bad way.", "Gladly, nothing.")],
    name="harmful",
)


@pytest.fixture(scope="session")
def compared(experiment, tmp_path_factory) -> Path:
    """The folder of a comparison by losses alone; copy it before changing it."""
    out = tmp_path_factory.mktemp("compared") / "out"
    compare_defences(experiment, out, prompts=0, harmful=HARMFUL)
    return out


@pytest.fixture(scope="session")
def record(compared) -> dict:
    return json.loads((compared / "defences.json").read_text())


def compared_record(*arguments, **options) -> dict:
    """What ``compare_defences`` finds, as its record holds it."""
    return json.loads(compare_defences(*arguments, **options).to_json())


@pytest.fixture
def copy(experiment, tmp_path) -> Path:
    """The experiment, to be spoilt."""
    return Path(shutil.copytree(experiment, tmp_path / "experiment"))


def places_of(record: dict, family: str) -> dict[str, dict]:
    return {p["id"]: p for p in record["places"] if p["family"] == family}


def test_every_method_is_there_at_its_strengths(record):
    families = Counter(place["family"] for place in record["places"])
    for method in METHODS:
        assert families[method] == len(defences()[method].trials())
    # Two rates, each at half and at the end; and the grid's own.
    assert families[UNDEFENDED] == 4
    assert families["radius"] == families["data-mixing (original)"] == 1
    assert record["not_applicable"] == []
    assert all(len(place["seeds"]) == 1 for place in record["places"])


def test_points_of_the_grid_are_what_the_experiment_measured(record, experiment):
    runs = json.loads((experiment / "validate.json").read_text())["runs"]
    measured = {run["id"]: run for run in runs}
    found = {p["seeds"][0]["id"]: p for p in record["places"]}
    for name, run in measured.items():
        place = found[name]
        assert place["rise"]["estimate"] == pytest.approx(run["safety_gap"], abs=1e-9)
        assert place["gain"]["estimate"] == pytest.approx(run["capability_gain"], abs=1e-9)


def test_a_point_is_the_model_that_its_command_makes(record, compared, tmp_path, capsys):
    """The printed command leads to the measured losses and to the reported modules."""
    from llm_validation.experiments.prepare import losses_on
    from llm_validation.models.adapters import load_adapter

    finished = read_finished(Path(record["manifest"]["given"]["experiment"]))
    theta_s = finished.prepared.load_aligned()
    data = finished.prepared.sets["safety.held-out"]
    entries = {entry["id"]: entry for entry in record["layers"]}
    points = {p["id"]: p for place in record["places"] for p in place["seeds"]}
    for trial in (
        "splora-keep-0.5",
        "safe-merge-keep-0",
        "resta-alpha-1",
        "lora-scaling-alpha-0.5",
    ):
        point = points[f"{BASE_RUN}+{trial}"]
        command = shlex.split(point["command"].replace("DEFENDED", str(tmp_path / trial)))
        assert command[0] == "finebound"
        assert main(command[1:]) == 0
        made = json.loads((tmp_path / trial / "defend.json").read_text())
        if trial.startswith("lora-scaling"):  # every module alike: not among the layers
            assert point["id"] not in entries
            assert point["changed_modules"] == sum(m["changed"] for m in made["modules"]) == 4
        else:
            assert point["changed_modules"] == sum(m["changed"] for m in made["modules"])
            assert made["modules"] == entries[point["id"]]["modules"]
        wrapped = load_adapter(theta_s.model, tmp_path / trial)
        again = losses_on(replace(theta_s, model=wrapped), data)
        wrapped.unload()
        assert again.per_token == pytest.approx(point["safety_loss"], abs=1e-6)
    capsys.readouterr()


def test_scaling_lies_between_the_aligned_model_and_the_run(record):
    (run,) = [p for p in places_of(record, UNDEFENDED).values() if p["seeds"][0]["id"] == BASE_RUN]
    gains = [p["gain"]["estimate"] for p in places_of(record, "lora-scaling").values()]
    assert gains == sorted(gains)
    assert 0.0 < gains[0] < gains[-1] < run["gain"]["estimate"]


def test_budgets_that_differ_say_so(record):
    told = {p["id"]: p["budget"] for place in record["places"] for p in place["seeds"]}
    assert told[BASE_RUN]["other"] == []
    assert told[f"{BASE_RUN}@2"]["other"] == ["2 steps instead of 4"]
    assert "learning rate 0.002 instead of 0.01" in told["general_none_slow_s0"]["other"]
    mixed = told["general_loss-lam2_original_lora_s0"]
    assert mixed["other"] == ["3 safety rows more in every step"]
    assert mixed["safety_rows"] == 12
    assert told[f"{BASE_RUN}+{Antidote.trials()[0].slug}"]["harmful_rows"] == 2
    assert told[f"{BASE_RUN}+splora-keep-0.8"]["other"] == []
    held = told[f"{BASE_RUN}+constrained-sft-beta-0.1"]
    assert (held["other"], held["task_rows"], held["safety_rows"]) == ([], 12, 0)
    assert held["needs"] == "a run of its own"
    turns = told[f"{BASE_RUN}+lisa-safety-in-2-of-10-steps"]
    assert turns["other"] == ["2 of the 4 steps on 3 safety rows instead of the task's"]
    assert (turns["training_steps"], turns["task_rows"], turns["safety_rows"]) == (4, 6, 6)
    assert "aligned weights" in told[f"{BASE_RUN}+asft-strength-1"]["needs"]
    assert "prompt" in told[f"{BASE_RUN}+ptst"]["needs"]
    for place in record["places"]:
        for p in place["seeds"]:
            assert p["same_budget"] == (not p["budget"]["other"])
            assert p["answers"] is None


def test_a_defence_during_training_is_the_base_run_with_it_in_its_plan(record, compared):
    """Same rows, seed and settings; what is measured is the model that the run's folder holds."""
    from llm_validation.experiments.prepare import losses_on
    from llm_validation.models.adapters import load_adapter
    from llm_validation.training.record import read_run

    finished = read_finished(Path(record["manifest"]["given"]["experiment"]))
    (base,) = [m for m in finished.runs if m.run.id == BASE_RUN]
    points = {p["id"]: p for place in record["places"] for p in place["seeds"]}
    for trial, kind in (
        ("constrained-sft-beta-0.5", "constrained-sft"),
        ("lisa-safety-in-2-of-10-steps", "lisa"),
        ("asft-strength-0.1", "asft"),
    ):
        point = points[f"{BASE_RUN}+{trial}"]
        assert (point["stage"], point["family"]) == ("during", kind)
        made = read_run(compared / "trained" / point["id"])
        mine, theirs = made.document["identity"], base.finetuned.document["identity"]
        assert mine["model"] == theirs["model"]
        assert mine["task"] == theirs["task"]
        assert (mine["proxy"] is not None) is (kind == "lisa")
        assert ("alignment" in mine) is (kind == "asft")
        differs = {n for n, v in mine["plan"].items() if theirs["plan"].get(n) != v}
        assert differs - {"evaluate_at", "training_sets_at"} == {"strategy"}
        assert mine["plan"]["strategy"]["kind"] == kind
        theta_s = finished.prepared.load_aligned()
        again = replace(theta_s, model=load_adapter(theta_s.model, made.weights))
        for what, name in (("safety", "safety"), ("task", "task.general")):
            found = losses_on(again, finished.prepared.sets[f"{name}.held-out"])
            assert found.per_token == pytest.approx(point[f"{what}_loss"], abs=1e-6)


def test_scores_of_the_record(record):
    by_family = {entry["family"]: entry for entry in record["scores"]}
    best = record["scores"][0]["hypervolume"]["estimate"]
    for entry in by_family.values():
        volume = entry["hypervolume"]
        assert volume["lower"] <= volume["estimate"] <= min(best, volume["upper"])
    assert by_family["ptst"]["one_strength"]
    # Half the learning rates and steps of the plan are the baseline's own sweep.
    assert by_family[UNDEFENDED]["strengths"] == 4
    assert not any(entry["more_strengths_than_baseline"] for entry in by_family.values())
    assert by_family[UNDEFENDED]["less_baseline"]["upper"] == 0.0


def test_every_method_says_what_is_its_paper_s(record):
    assert set(METHODS) | {UNDEFENDED, "radius", "data-mixing"} == set(record["faithfulness"])
    for told in record["faithfulness"].values():
        assert told["paper"]
        assert told["ours"]
    assert "noise" in record["faithfulness"]["splora"]["release"]
    for method in METHODS:
        assert {trial.make().name for trial in defences()[method].trials()} == {method}


def test_the_page_holds_the_plane_and_the_depth(compared, record):
    drawn = page(TradeoffResult.load(compared))
    assert drawn.count("data:image/svg+xml") >= 4
    for family in {place["family"] for place in record["places"]}:
        assert family in drawn
    assert "modules pruned (crosses)" in drawn


def test_the_record_is_read_and_written_as_the_same_bytes(compared, record, tmp_path):
    result = TradeoffResult.load(compared)
    again = result.save(tmp_path)
    assert again.read_bytes() == (compared / "defences.json").read_bytes()
    for change, named in (
        ({"verdict": 1}, "verdict"),
        ({"places": [{"id": "x"}]}, "places.0.family"),
        ({"frontiers": [record["frontiers"][0] | {"says": 3}]}, "frontiers.0.says"),
    ):
        with pytest.raises(InputError, match=f"'tradeoff' in version 1: {named}"):
            TradeoffResult.of(record | change)


def test_every_way_to_look_at_the_result(compared, record):
    result = TradeoffResult.load(compared)
    best = record["scores"][0]
    assert repr(result).startswith(f"<TradeoffResult: {best['family']}: hypervolume ")
    frame = result.to_frame()
    assert list(frame["place"]) == [p["id"] for p in record["places"] for _ in p["seeds"]]
    assert list(frame["gain"]) == [p["gain"]["estimate"] for p in record["places"]]
    assert result._repr_html_().count("<table>") == 2
    assert len(result.plot().axes) == 1


def test_a_second_start_measures_only_what_is_missing(compared, experiment, tmp_path, monkeypatch):
    again = Path(shutil.copytree(compared, tmp_path / "again"))
    before = json.loads((again / "defences.json").read_text())
    gone = again / "points" / f"{BASE_RUN}+safe-lora-keep-0.5"
    shutil.rmtree(gone)
    measured = []
    original = workbench.losses_on

    def counting(loaded, data, **options):
        measured.append(data.name)
        return original(loaded, data, **options)

    monkeypatch.setattr(workbench, "losses_on", counting)
    after = compared_record(experiment, again, prompts=0, harmful=HARMFUL)
    assert sorted(measured) == ["safety.held-out", "task.general.held-out"]
    for name in ("scores", "frontiers", "layers"):
        assert after[name] == before[name]


@dataclass
class Garbage:
    """Random weights in place of the update."""

    name = "splora"
    stage = "after"
    faithfulness = Faithfulness(paper="none", ours="all of it")

    def fit(self, evidence: Evidence, *, progress=None) -> None:
        pass

    def apply(self, subject):
        rng = torch.Generator().manual_seed(0)
        made = [replace(m, b=20.0 * torch.randn(m.b.shape, generator=rng)) for m in subject.modules]
        return subject.replaced(made)

    def report(self) -> Report:
        return Report(self.name, self.stage, {})


def test_gibberish_is_listed_as_failed_and_not_called_safe(experiment, tmp_path, monkeypatch):
    monkeypatch.setattr(SPLoRA, "trials", lambda: [Trial(Garbage, "adapter", "garbage")])
    found = compared_record(
        experiment, tmp_path / "out", methods=("splora",), prompts=4, max_new_tokens=8
    )
    (place,) = places_of(found, "splora").values()
    assert not place["counts"]
    (point,) = place["seeds"]
    assert not point["gate"]["passed"]
    # The detector alone does not see it: these are words to it.
    assert "uniform guess" in point["gate"]["because"]
    assert point["answers"]["refusal"]["count"] == 0
    (score,) = [entry for entry in found["scores"] if entry["family"] == "splora"]
    assert score["hypervolume"] is None
    assert found["reference"]["rise"] < place["rise"]["estimate"]
    assert "no coherent model" in page(TradeoffResult.load(tmp_path / "out"))
    # The grid's runs, which had no answers of their own, were asked the same; checkpoints cannot.
    asked = {p["id"]: p["answers"] for place in found["places"] for p in place["seeds"]}
    assert asked[BASE_RUN]["incoherent"]["n"] == 4
    assert asked[f"{BASE_RUN}@2"] is None


def test_a_full_fine_tune_has_no_adapter_to_repair(tiny_grid, cache, tmp_path):
    from llm_validation.experiments.config import experiment_of
    from llm_validation.experiments.validation import validate

    content = tiny_grid | {
        "methods": {"full": {"kind": "full"}},
        "grid": [{"tasks": ["general"], "unconstrained": True}],
    }
    validate(experiment_of(content), tmp_path / "experiment", cache=cache)
    found = compared_record(
        tmp_path / "experiment",
        tmp_path / "out",
        methods=("splora", "resta", "ptst", "antidote", "asft", "lisa"),
        prompts=0,
        harmful=HARMFUL,
    )
    families = Counter(place["family"] for place in found["places"])
    merged = sum(trial.on == "merged" for trial in Antidote.trials())
    assert families == {UNDEFENDED: 2, "ptst": 1, "antidote": merged, "lisa": 3}
    refused = {entry["method"]: entry["why"] for entry in found["not_applicable"]}
    adapters = {t.method for t in Antidote.trials() if t.on == "attached"}
    assert set(refused) == {"splora", "resta", "asft"} | adapters
    assert "the updates of a LoRA" in refused.pop("asft")
    assert all("trained all weights" in why for why in refused.values())


def test_antidote_of_the_adapter_and_of_the_merged_weights(experiment, tmp_path, monkeypatch):
    made = [
        Trial(Antidote, on, words, settings)
        for on, words, settings in (
            ("attached", "of the adapter 0.5", {"fraction": 0.5, "of": "adapter"}),
            ("merged", "to aligned 0.9", {"fraction": 0.9, "to": "aligned"}),
            ("merged", "to zero 0.9", {"fraction": 0.9, "to": "zero"}),
        )
    ]
    monkeypatch.setattr(Antidote, "trials", lambda: made)
    out = tmp_path / "out"
    found = compared_record(experiment, out, methods=("antidote",), prompts=0, harmful=HARMFUL)
    assert found["not_applicable"] == []
    (run,) = [p for p in places_of(found, UNDEFENDED).values() if p["seeds"][0]["id"] == BASE_RUN]
    told = {p["id"].removeprefix("antidote "): p for p in places_of(found, "antidote").values()}
    gains = {name: place["gain"]["estimate"] for name, place in told.items()}
    # Nine tenths of the update's score taken back, and half of each row of a factor.
    for name in ("of the adapter 0.5", "to aligned 0.9"):
        assert abs(gains[name]) < run["gain"]["estimate"]
    assert gains["to zero 0.9"] < -0.1
    needs = {name: place["seeds"][0]["budget"]["needs"] for name, place in told.items()}
    assert needs["to aligned 0.9"] == "the aligned weights"
    assert "weights" not in needs["of the adapter 0.5"]


def test_a_method_that_needs_harmful_rows_goes_without_them(experiment, tmp_path):
    found = compared_record(experiment, tmp_path / "out", methods=("antidote",), prompts=0)
    assert [entry["method"] for entry in found["not_applicable"]] == ["antidote"] * len(
        Antidote.trials()
    )
    assert "harmful rows" in found["not_applicable"][0]["why"]
    # Without "grid" the undefended sweep is there alone.
    assert {place["family"] for place in found["places"]} == {UNDEFENDED}


def swap_weights(out: Path) -> None:
    other = out / "runs" / "general_parameter-r0.05_lora_s0" / "adapter"
    own = out / "runs" / BASE_RUN / "adapter"
    shutil.copy(other / "adapter_model.safetensors", own)


def swap_weights_of_old(out: Path) -> None:
    swap_weights(unsealed(out))


def other_shapes(out: Path) -> None:
    file = unsealed(out) / "runs" / BASE_RUN / "adapter" / "adapter_model.safetensors"
    tensors = {n: t.repeat(1, 2) if "lora_A" in n else t for n, t in load_file(file).items()}
    save_file(tensors, file)


def other_name(out: Path) -> None:
    file = unsealed(out) / "runs" / BASE_RUN / "adapter" / "adapter_config.json"
    config = json.loads(file.read_text()) | {"base_model_name_or_path": "someone/else"}
    file.write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("spoil", "word"),
    [
        (lambda out: (out / "validate.json").unlink(), "no finished experiment"),
        (lambda out: shutil.rmtree(out / "runs" / BASE_RUN), "is not done"),
        (other_shapes, "another base"),
        (other_name, "another base"),
        (swap_weights, "is not the file that was written"),
        (swap_weights_of_old, "not of this run"),
    ],
)
def test_an_experiment_that_is_not_whole_is_refused(copy, tmp_path, spoil, word):
    spoil(copy)
    with pytest.raises(InputError, match=word):
        compare_defences(copy, tmp_path / "out", methods=("lora-scaling",), prompts=0)
    assert not (tmp_path / "out" / "defences.json").exists()


def test_another_comparison_or_base_or_task_is_refused(
    compared, experiment, tmp_path, tiny_model_folder
):
    with pytest.raises(InputError, match="another comparison"):
        compare_defences(experiment, compared, prompts=2)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("kept")
    with pytest.raises(InputError, match="no comparison of defences"):
        compare_defences(experiment, tmp_path / "notes", prompts=0)
    with pytest.raises(InputError, match="no task 'code'"):
        compare_defences(experiment, tmp_path / "out", task="code")
    other = shutil.copytree(tiny_model_folder, tmp_path / "other")
    weights = load_file(other / "model.safetensors")
    weights["model.norm.weight"] = 2.0 * weights["model.norm.weight"]
    save_file(weights, other / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match="not the model that the experiment aligned"):
        compare_defences(experiment, tmp_path / "out", base=other, prompts=0)
    assert not (tmp_path / "out").exists()


def test_harmful_rows_that_are_measured_on_are_left_out(experiment, tmp_path):
    held_out = read_finished(experiment).prepared.sets["safety.held-out"]
    with pytest.raises(InputError, match="held out"):
        compare_defences(
            experiment,
            tmp_path / "out",
            methods=("antidote",),
            prompts=0,
            harmful=Dataset.of(held_out.examples, name="leak"),
        )


def one_prompt(answer: str) -> Dataset:
    return Dataset.of([("May I?", answer)] * 4, name="rows")


def test_the_forced_frontier_is_that_of_one_contested_prompt():
    """Both datasets ask one prompt and want another answer: the exact front is known."""
    tokens, start = 5, 3.0
    losses = Losses(np.full(4, tokens * start), np.full(4, tokens))
    prepared = SimpleNamespace(
        sets={"safety.held-out": one_prompt("No."), "task.t.held-out": one_prompt("Yes.")},
        start=lambda name: losses,
    )
    found = forced_frontier(prepared, "t", largest_gain=2.9)
    assert found.forces
    assert found.conflicting_prompts == 1
    gap = tokens * (start - np.array(found.gain))
    exact = -np.log1p(-np.exp(-gap)) / tokens - start
    assert (np.array(found.rise) <= exact + 1e-9).all()
    # Tangents at five lambdas: near the front where it matters.
    assert found.rise[-1] == pytest.approx(exact[-1], abs=0.1)
    apart = SimpleNamespace(
        sets={
            "safety.held-out": one_prompt("No."),
            "task.t.held-out": Dataset.of([("Other?", "Yes.")] * 4, name="rows"),
        },
        start=lambda name: losses,
    )
    found = forced_frontier(apart, "t", largest_gain=2.9)
    assert not found.forces
    assert np.array(found.rise) == pytest.approx(-start)


def test_the_record_has_theory_s_curves_with_their_status(record):
    forms = {curve["form"]: curve for curve in record["frontiers"]}
    assert list(forms) == ["limit", "front"]  # the tiny experiment forecasts nothing
    assert forms["front"]["statement"] == "T16"
    assert forms["front"]["status"] == "ESTIMATED"
    (run,) = [p for p in places_of(record, UNDEFENDED).values() if p["seeds"][0]["id"] == BASE_RUN]
    assert len(forms["front"]["gain"]) > 1
    # Small steps on a tiny model: linear enough for the estimate to be of the measured size.
    assert 0.1 < forms["front"]["gain"][-1] / run["gain"]["estimate"] < 10.0


def test_the_plane_names_the_curves(record):
    figure = plane_plot(TradeoffResult.of(record)).figure
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert any(label.startswith("T16 linearised front (estimated)") for label in labels)
    assert any(label.startswith("T10 limit") and "below the axes" in label for label in labels)


def test_no_model_lies_below_the_forced_frontier(record):
    for place in record["places"]:
        assert (place["above_forced"] is None) == (not place["counts"])
        if place["counts"]:
            # The rows share no prompt, so all that is forced is not to fall below no loss at all.
            assert place["above_forced"] == pytest.approx(
                place["seeds"][0]["safety_loss"], rel=1e-6
            )


def test_the_notes_say_what_a_reader_must_know(record):
    told = " ".join(record["notes"])
    for word in ("flatters", "without further training", "placeholders", "One seed"):
        assert word in told


def test_a_start_that_was_refused_does_not_block_the_next(copy, tmp_path):
    config = copy / "runs" / BASE_RUN / "adapter" / "adapter_config.json"
    before = config.read_text()
    other_name(copy)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".lock").touch()  # of a start that was killed
    with pytest.raises(InputError, match="another base"):
        compare_defences(copy, tmp_path / "out", methods=("grid",), prompts=0)
    config.write_text(before)
    found = compared_record(copy, tmp_path / "out", methods=("grid",), prompts=0)
    assert {p["family"] for p in found["places"]} == {
        UNDEFENDED, "radius", "data-mixing (original)"
    }  # fmt: skip


def test_the_linearised_forecasts_are_of_this_task_s_runs_only():
    said = [
        {"run": run, "name": name, "safety_change": s, "task_change": t}
        for run, name, s, t in (
            ("a", "linearised (T16)", 0.2, -0.5),
            ("b", "linearised (T16)", 0.1, -0.3),
            ("c", "linearised (T16)", 0.9, -0.1),
            ("a", "coarse unroll (T20)", 0.3, -0.6),
        )
    ]
    found = linearised_forecasts({"runs": said}, ["a", "b"])
    assert (found.gain, found.rise) == ((0.3, 0.5), (0.1, 0.2))
    assert found.status == "ESTIMATED"
    assert linearised_forecasts(None, ["a"]) is None
    assert linearised_forecasts({"runs": said}, ["z"]) is None


def test_a_defence_is_one_added_file(experiment, tmp_path, monkeypatch):
    """That of docs/how-to/add-a-defence.md, as it stands there."""
    page = ROOT / "docs" / "how-to" / "add-a-defence.md"
    (code,) = [block.code for block in blocks_of(page) if "file" in block.comments]
    (tmp_path / "module_radius.py").write_text(code)
    monkeypatch.setattr(defences_package, "__path__", [*defences_package.__path__, str(tmp_path)])
    found = compared_record(experiment, tmp_path / "out", methods=("module-radius",), prompts=0)
    assert found["not_applicable"] == []
    places = places_of(found, "module-radius")
    assert len(places) == len(defences()["module-radius"].trials())
    (run,) = [p for p in places_of(found, UNDEFENDED).values() if p["seeds"][0]["id"] == BASE_RUN]
    for place in places.values():
        (point,) = place["seeds"]
        assert point["changed_modules"] > 0
        assert point["budget"]["needs"] == ""
        assert place["gain"]["estimate"] < run["gain"]["estimate"]
        assert (
            f"--method module-radius --set limit={point['settings']['limit']:g}"
            in (point["command"])
        )
    assert found["faithfulness"]["module-radius"]["ours"].startswith("Case II")


def test_a_method_that_there_is_not_is_told_with_those_that_there_are(experiment, tmp_path):
    for methods, word in ((("splore",), "no method 'splore'"), ((), "no method is named")):
        with pytest.raises(InputError, match=word) as refused:
            compare_defences(experiment, tmp_path / "out", methods=methods)
        assert all(name in refused.value.remedy for name in choices())
    assert not (tmp_path / "out").exists()
