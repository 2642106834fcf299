"""The contract of ``finebound calibrate`` on a forecast: a record in, a choice out, exit codes."""

from __future__ import annotations

import json

import pytest
from made_outlooks import OPTIONS, RECORD, outlook
from rich.cells import cell_len

import finebound as fb
from finebound.cli import main
from finebound.results.choice import ChoiceResult
from theory.calibrate import calibrate as strategy_within


@pytest.fixture
def record(tmp_path):
    return outlook().save(tmp_path / "estimate")


def run(capsys, *arguments):
    code = main(["calibrate", *map(str, arguments)])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.mark.parametrize(
    ("budget", "code", "decision", "chosen"),
    [
        ((), 3, "undecided", OPTIONS[0]),
        (("--budget", "refusal=15"), 0, "kept", OPTIONS[0]),
        (("--budget", "refusal=50"), 0, "kept", OPTIONS[-1]),
    ],
)
def test_the_choice_as_json_and_as_a_record(
    capsys, record, tmp_path, budget, code, decision, chosen
):
    # The estimate's file and its folder are the same to it.
    for source in (record, record.parent):
        out = tmp_path / "out"
        found, printed, err = run(capsys, "--from", source, *budget, "--json", "--out", out)
        content = json.loads(printed)
        assert (found, content["decision"]) == (code, decision)
        assert "finebound calibrate:" not in err
        assert content["chosen"]["how"] == chosen.how
        assert len(content["options"]) == len(OPTIONS)
        assert (out / "calibrate.json").read_text() == printed
        result = fb.load(out)
        assert isinstance(result, ChoiceResult)
        assert result == fb.load(out / "calibrate.json")
        assert result.to_json() + "\n" == printed
        assert result.manifest.inputs.keys() == {"estimate"}


def test_where_every_option_breaks_the_budget_the_exit_code_is_1(capsys, tmp_path):
    record = outlook(options=OPTIONS[3:]).save(tmp_path)
    code, out, _ = run(capsys, "--from", record)
    assert code == 1
    assert out.startswith("Every option that was tried breaks the budget")
    assert "To apply it" not in out
    code, out, _ = run(capsys, "--from", record, "--json")
    assert (code, json.loads(out)["chosen"]) == (1, None)


@pytest.mark.parametrize("budget", ["refusal=5", "refusal=15", "refusal=50", "refusal=0"])
def test_the_answer_fits_80_columns(capsys, record, budget):
    _, out, err = run(capsys, "--from", record, "--budget", budget)
    assert "finebound calibrate:" not in err
    assert max(map(cell_len, out.splitlines())) <= 80
    assert "To apply it:" in out
    assert all(row[:20] in out for row in (one.how for one in OPTIONS))


def test_texts_of_a_record_do_not_steer_the_terminal(capsys, tmp_path):
    how = "mix\x1b[31m [bold]rows\n" + "wide \N{CJK UNIFIED IDEOGRAPH-4E00}" * 60
    one = OPTIONS[0].model_copy(update={"how": how, "strategy": "new"})
    record = outlook(options=(one,)).save(tmp_path)
    _, out, _ = run(capsys, "--from", record)
    assert "\x1b" not in out
    assert "[bold]rows" in out
    assert max(map(cell_len, out.splitlines())) <= 80


BAD_BUDGETS = {
    "refusal=120": "--budget is 'refusal=120'",
    "refusal=-1": "0 to 100",
    "refusal=nan": "--budget is",
    "over-refusal=101": "0 to 100",
    "safety=5": "--budget is 'safety=5'",
    "5": "--budget is '5'",
    "loss=0.1": "loss=0.1",
}


@pytest.mark.parametrize(("budget", "says"), BAD_BUDGETS.items())
def test_a_budget_that_decides_nothing(capsys, record, tmp_path, budget, says):
    rejected(capsys, says, "--from", record, "--budget", budget, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_budget_is_given_once(capsys, record):
    rejected(capsys, "names refusal twice", "--from", record, "--budget", "refusal=5", "refusal=9")


def rejected(capsys, says, *arguments):
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    # A slow machine may tell of its progress before.
    told = err[err.index("finebound calibrate: ") :]
    assert told.count("\n") == 1
    assert says in told, err


def damaged(text: str) -> dict[str, tuple[str, str]]:
    """Contents of an estimate.json by what is wrong with them, and what is said of it."""
    content = json.loads(text)
    option = content["options"][0]
    return {
        "cut": (text[: len(text) // 2], "is not JSON"),
        "empty": ("", "is not JSON"),
        "a list": ("[]", "holds no JSON object"),
        "another record": ('{"exact": null, "bounds": []}', "no record of the kind 'estimate'"),
        "an unknown entry": (json.dumps(content | {"new": 1}), "new"),
        "a half option": (json.dumps(content | {"options": [{"how": "x"}]}), "options.0"),
        "no share": (
            json.dumps(content | {"options": [option | {"interval": [0.9, 12]}]}),
            "is no share",
        ),
        "an earlier version": (RECORD.read_text(), "of an earlier version"),
    }


@pytest.mark.parametrize("what", damaged(outlook().to_json()))
def test_a_record_that_cannot_be_used(capsys, tmp_path, what):
    text, says = damaged(outlook().to_json())[what]
    file = tmp_path / "estimate.json"
    file.write_text(text)
    rejected(capsys, says, "--from", file, "--budget", "refusal=5")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--model", "packaged"), "--model says nothing to a forecast that was made"),
        (("--seed", "3"), "--seed says nothing"),
        (("--strategy", "parameter"), "--strategy says nothing to a forecast"),
        (("--problem", "p.json", "--budget", "1"), "--problem and --from exclude each other"),
        (("--safety", "s.jsonl", "--budget", "1"), "--safety and --from exclude each other"),
    ],
)
def test_what_is_for_something_else_is_rejected(capsys, record, arguments, says):
    rejected(capsys, says, "--from", record, *arguments)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "--from is missing"),
        (("--model", "packaged", "--budget", "refusal=5"), "--task is missing"),
        (("--task", "t.jsonl", "--budget", "refusal=5"), "--model is missing"),
        (("--from", "nowhere/estimate.json"), "nowhere/estimate.json: cannot be read"),
        (("--problem", "p.json"), "--budget is missing"),
        (("--problem", "p.json", "--budget", "1", "2"), "--budget is several"),
        (("--problem", "p.json", "--budget", "refusal=5"), "a bound's budget is a number"),
        (("--model", "m", "--task", "t", "--budget", "0.1"), "--budget is '0.1'"),
        (
            ("--model", "m", "--task", "t", "--strategy", "parameter", "--budget", "refusal=5"),
            "--strategy says nothing to a forecast",
        ),
        (("--model", "m", "--task", "t", "--budget", "refusal=101"), "0 to 100"),
    ],
)
def test_half_a_question_is_told_before_any_work(capsys, arguments, says):
    rejected(capsys, says, *arguments)


def test_the_same_from_python(record):
    by_file = fb.calibrate(record, "refusal=15")
    by_result = fb.calibrate(fb.load(record), budget=("refusal=15",))
    assert by_file.to_dict() | {"manifest": 0} == by_result.to_dict() | {"manifest": 0}
    assert by_file.decision == "kept"
    assert "refusal=15" in by_file.manifest.given["budget"]
    assert by_file.table().rows[0][0] == OPTIONS[0].how
    assert by_file.plot().axes
    assert "<table>" in by_file._repr_html_()
    assert repr(by_file).startswith("<ChoiceResult: The mildest option that keeps the budget")
    for wrong in ({"model": "m"}, {"strategy_kind": None, "steps": 5}):
        with pytest.raises(fb.InputError, match="new estimate"):
            fb.calibrate(record, "refusal=15", **wrong)
    with pytest.raises(fb.InputError, match="`task` is missing"):
        fb.calibrate(model="packaged", budget="refusal=5")


def test_theorys_search_has_the_same_name_from_python():
    problem = fb.Constants({"capability_gap_at_aligned": 1.0, "loss_range": 9.0, "tv": 0.0})
    lam = strategy_within(problem, 0.1, "loss").strategy.lam
    assert fb.calibrate(problem, 0.1, "loss").strategy.lam == lam
    assert fb.calibrate(problem=problem, budget=0.1, strategy_kind="loss").strategy.lam == lam
    with pytest.raises(fb.InputError, match="strategy_kind"):
        fb.calibrate(problem)
