"""An experiment's and a run's pages, tables and figures, drawn from records alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from made_runs import experiment_entry, run_entry

import finebound as fb
from finebound.base.errors import InputError
from finebound.results.experiment import ExperimentResult
from finebound.results.run import RunResult
from finebound.views import experiment, run
from finebound.views.experiment_terminal import print_experiment

SMOKE = Path(__file__).parent / "smoke_experiment"
RUN = SMOKE / "runs" / "general_hybrid-lam1-r0.1_original_lora_s0"


@pytest.fixture(scope="module")
def found():
    return ExperimentResult.load(SMOKE)


@pytest.fixture
def made():
    runs = [
        run_entry("lora", rate=1e-3, gain=0.3),
        run_entry("prompt", rate=1e-3, kind="prompt-tuning", start=0.2, failed=("format",)),
    ]
    return ExperimentResult.of(experiment_entry(runs))


def test_the_page_of_a_result_and_of_its_record_is_the_same(found, made, tmp_path):
    for number, result in enumerate((found, made)):
        result.save(tmp_path / str(number))
        again = ExperimentResult.load(tmp_path / str(number))
        assert experiment.page(again) == experiment.page(result)


def test_the_run_s_page_has_its_gates_curves_and_bounds():
    result = fb.load(RUN)
    page = run.page(result)
    assert page == run.page(RunResult.load(RUN))
    for gate in result.measured.entry.gates:
        assert f">{gate}</th>" in page
    assert page.count("data:image/svg+xml") == len(result.plot().axes) == 3
    rows = result.table().rows
    assert [row[4] for row in rows] != [row[5] for row in rows]
    assert len(rows) == len(result.measured.compared)
    assert "change in safety loss" in page


def test_a_run_without_its_experiment_has_no_page():
    with pytest.raises(InputError, match="no finished run"):
        run.page(RunResult.load(RUN / "record.json"))


def test_no_page_calls_the_aligned_model_theta_s(made):
    for text in (experiment.page(made), made.summary(), made.table().markdown()):
        assert "theta_s" not in text


def test_every_string_of_a_page_is_escaped(made):
    runs = [made.done[0].model_copy(update={"id": "<script>alert(1)</script>"})]
    page = experiment.page(made.model_copy(update={"runs": runs}))
    assert "<script>alert" not in page
    assert "<script>" not in made.model_copy(update={"runs": runs})._repr_html_()


def test_the_terminal_has_every_table(found, capsys):
    print_experiment(found, SMOKE)
    out = " ".join(capsys.readouterr().out.split())
    for table in experiment.tables(found):
        assert " ".join(table.title.split())[:60] in out
    assert "Bounds: 16 held" in out


def test_a_frame_and_a_figure(made):
    frame = made.to_frame()
    assert list(frame["run"]) == [run.id for run in made.done]
    assert list(frame["change in safety loss"]) == [run.safety_gap for run in made.done]
    (axes,) = made.plot().axes
    assert axes.get_ylabel() == "change in safety loss, nats/token"
    assert made._repr_html_().count("<tr>") == 1 + len(made.done)


def test_results_and_views_load_no_torch():
    code = (
        "import sys; import finebound.views.experiment, finebound.views.run, "
        "finebound.views.behaviour.drawing, finebound.results.registry as r; r.load(sys.argv[1]); "
        "assert not {'torch', 'jax', 'llm_validation'} & set(sys.modules), sorted(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(SMOKE)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-400:]


def test_what_runs_support_is_part_of_json(found):
    plain = [one.to_dict() for one in found.advice]
    assert [set(one) for one in plain] == [{"topic", "sentence", "supported", "runs"}] * len(plain)
    assert json.dumps(plain)
