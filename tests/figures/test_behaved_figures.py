"""Figures of methods and behaviour: from finished experiments, readable, honest about gates."""

from __future__ import annotations

import json
import os
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
from matplotlib.text import Text

from finebound.base.errors import InputError
from finebound.cli import main
from finebound.results.experiment import ExperimentResult
from finebound.views.behaviour import method_tradeoff as tradeoff
from finebound.views.behaviour.common import by_setting
from finebound.views.behaviour.drawing import draw_experiment
from finebound.views.claims import compose
from finebound.views.style import paper_style, save
from paper_figures.registry import data_of, figure_module

NAMES = (
    "method_tradeoff",
    "learning_rates",
    "hazard_heatmap",
    "bbq_dots",
    "behaviour_loss",
    "init_only",
    "refusal_chrf",
)


@pytest.fixture(params=NAMES)
def figure(request):
    return request.param


@pytest.fixture
def module(figure):
    return figure_module(figure)


@pytest.fixture
def data(figure, write_studies):
    write_studies()
    # As a record is: through JSON.
    return json.loads(json.dumps(data_of(figure, 0)))


def drawn(module, data):
    with paper_style():
        figure = module.draw(data)
        figure.canvas.draw()
    return figure


def pixels(module, data):
    return np.asarray(drawn(module, data).canvas.buffer_rgba()).copy()


def test_draws_without_a_warning_and_twice_the_same(module, data):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first = pixels(module, data)
    assert (first == pixels(module, data)).all()
    if folder := os.environ.get("FIGURES5_OUT"):
        Path(folder).mkdir(exist_ok=True)
        with paper_style():
            save(module.draw(data), Path(folder), module.__name__.rpartition(".")[2])


def test_axes_have_labels_with_units_and_there_is_a_legend(module, data):
    figure = drawn(module, data)
    for axes in figure.axes:
        assert re.search(r"\(.+\)$", axes.get_xlabel()), axes.get_xlabel()
        shown = axes.get_ylabel() or figure.axes[0].get_ylabel()
        assert re.search(r"\(.+\)$", shown), shown
    assert figure.legends


def test_no_text_is_clipped_or_too_small(module, data):
    figure = drawn(module, data)
    page = figure.bbox
    for text in figure.findobj(Text):
        if not text.get_visible() or not text.get_text().strip() or _beyond(text):
            continue
        box = text.get_window_extent()
        assert min(box.x0, box.y0) >= 0, text.get_text()
        assert box.x1 <= page.x1, text.get_text()
        assert box.y1 <= page.y1, text.get_text()
        assert text.get_fontsize() >= 7.5, text.get_text()


def _beyond(text):
    if text.axes is None:
        return False
    for labels, limits, place in (
        (text.axes.get_xticklabels(), sorted(text.axes.get_xlim()), 0),
        (text.axes.get_yticklabels(), sorted(text.axes.get_ylim()), 1),
    ):
        if text in labels:
            return not limits[0] <= text.get_position()[place] <= limits[1]
    return False


def test_the_figure_depends_on_its_data(module, data):
    def halved(value):
        if isinstance(value, dict):
            return {k: halved(v) for k, v in value.items()}
        if isinstance(value, list):
            return [halved(item) for item in value]
        return 0.5 * value if isinstance(value, float) else value

    before, after = pixels(module, data), pixels(module, halved(data))
    assert before.shape == after.shape
    assert (before != after).any()


def test_a_failed_gate_is_drawn_and_told(figure, module, data, write_studies):
    def mended(study, content):
        for run in content["runs"]:
            run["gates"] = dict.fromkeys(run["gates"], True)
        return content

    write_studies(mended)
    sound = json.loads(json.dumps(data_of(figure, 0)))
    assert pixels(module, sound).tobytes() != pixels(module, data).tobytes()
    (whole,) = (c for c in module.claims(sound) if "passes its gates" in c.statement)
    (broken,) = (c for c in module.claims(data) if "passes its gates" in c.statement)
    assert whole.holds
    assert not broken.holds
    assert re.search(r"[1-9]\d* of \d+ runs", broken.evidence)


def test_captions_are_made_of_claims_with_numbers(module, data):
    claims = module.claims(data)
    assert claims
    text = compose(module.shows(data), claims)
    assert "ollow" in text or "hatched" in text
    for claim in claims:
        assert re.search(r"\d", claim.evidence)


def test_seeds_are_averaged_and_those_behind_a_gate_left_out():
    def run(seed, value, failed=(), **other):
        spans = {
            "change": [value, value - 1.0, value + 1.0],
            "categories": {"a": None, "b": [value]},
        }
        setting = {"kind": "lora", "objective": "sft", "rate": 1e-4, **other}
        return {**setting, "seed": seed, "failed": list(failed), **spans}

    runs = [run(0, 1.0), run(1, 3.0), run(2, 9.0, ["trained"]), run(0, 5.0, ["trained"], rate=1e-3)]
    low, high = by_setting(runs, "change", "categories")
    assert (low["change"], low["categories"]) == ([2.0, 1.0, 3.0], {"a": None, "b": [2.0]})
    assert (low["failed"], high["failed"]) == ([], ["trained"])
    assert high["change"] == [5.0, 4.0, 6.0]
    dpo = by_setting([*runs, run(0, 1.0, objective="dpo")], "change")
    assert [one["objective"] for one in dpo] == ["sft", "sft", "dpo"]


def test_nothing_failed_gates_support_is_claimed(write_studies):
    """A run behind a gate is neither the safest nor the most dangerous."""

    def claimed():
        return tradeoff.claims(data_of("method_tradeoff", 0))

    def spoilt(study, content):
        for run in content["runs"]:
            if run["method"] == "lora-dpo-high":
                run["gates"]["echo and coherence"] = False
        return content

    write_studies()
    assert any("LoRA DPO" in c.evidence for c in claimed())
    write_studies(spoilt)
    assert not any("LoRA DPO" in c.evidence for c in claimed())


def test_an_unfinished_study_names_its_command(figure, write_studies):
    folder = write_studies()
    for study in ("peft", "translation"):
        (folder / f"{study}-out" / "validate.json").unlink()
    with pytest.raises(InputError, match=r"validate\.json.*finebound validate \w+ --out \w+-out"):
        data_of(figure, 0)


def test_a_study_without_behaviour_is_refused(figure, write_studies):
    write_studies(lambda _, content: content | {"behaviour": None})
    with pytest.raises(InputError, match="no run with its behaviour"):
        data_of(figure, 0)


def test_starts_lead_the_path_of_a_run(write_studies):
    write_studies()
    runs = data_of("learning_rates", 0)["runs"]
    for run in runs:
        if run["start"] is None:
            assert run["path"][0] == [0.0, 0.0]
        else:
            assert run["path"][0] == [-0.2, run["start"][0]]
        assert run["path"][-1] == pytest.approx([run["gain"][0], run["safety"][0]])


def test_a_finished_experiment_is_drawn_from_its_own_folder(write_studies, tmp_path, capsys):
    folder = write_studies() / "peft-out"
    out = tmp_path / "drawn"
    assert main(["figures", "--from", str(folder), "--out", str(out), "--json"]) == 0
    names = [figure["name"] for figure in json.loads(capsys.readouterr().out)["figures"]]
    # What was not evaluated is not drawn.
    assert set(NAMES) - set(names) == {"refusal_chrf"}
    assert {file.name for file in out.glob("*.png")} == {f"{name}.png" for name in names}
    captions = (out / "captions.md").read_text()
    assert f"from the experiment in {folder}" in captions
    assert "finebound figures --from" in captions


@pytest.mark.parametrize("place", [0, 4, 6])
def test_an_experiment_of_one_run_is_drawn_without_a_warning(write_studies, tmp_path, place):
    folder = write_studies(lambda _, content: content | {"runs": [content["runs"][place]]})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        study = folder / "peft-out"
        drawn = draw_experiment(ExperimentResult.load(study), study, tmp_path / "drawn")
    assert "method_tradeoff" in {figure.name for figure in drawn}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--from", "nowhere"], "validate.json"),
        (["bbq_dots", "--from", "nowhere"], "Leave the names out"),
    ],
)
def test_what_cannot_be_drawn_from_a_folder_is_one_paragraph(
    tmp_path, monkeypatch, capsys, arguments, says
):
    monkeypatch.chdir(tmp_path)
    assert main(["figures", *arguments, "--out", "out"]) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
