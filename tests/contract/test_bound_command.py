"""The contract of ``finebound bound``: PROBLEM.json in, the promised JSON out, exit codes."""

import json
import subprocess
import sys

import numpy as np
import pytest

from finebound.cli import main
from finebound.results.bounds import rounded
from theory.evaluation import STATEMENTS

TABULAR = {
    "kind": "tabular",
    "safety": {"context": [0.5, 0.5], "target": [[0.9, 0.1], [0.2, 0.8]]},
    "task": {"context": [0.25, 0.75], "target": [[0.0, 1.0], [0.2, 0.8]]},
}
QUADRATIC = {
    "kind": "quadratic",
    "H_s": [[1, 0], [0, 2]],
    "H_f": [[1, 0], [0, 1]],
    "theta_s": [0, 0],
    "theta_f": [1, 1],
}
CONSTANTS = {
    "kind": "constants",
    "capability_gap_at_aligned": 0.8,
    "loss_range": 12,
    "tv": 0.01,
    "logit_lipschitz": {"value": 3.0, "known": "estimated"},
}
QUANTITIES = {
    "safety_gap",
    "proxy_safety_gap",
    "capability_gap",
    "weighted_sum",
    "sqrt_sum",
    "safety_loss_increase",
    "radius",
    "safe_answers",
}


def run(capsys, tmp_path, problem, *arguments):
    path = tmp_path / "PROBLEM.json"
    path.write_text(problem if isinstance(problem, str) else json.dumps(problem))
    code = main(["bound", str(path), *arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.parametrize(
    ("problem", "strategy", "has_exact"),
    [
        (TABULAR, ["--strategy", "loss", "--lam", "0.5"], True),
        (TABULAR, ["--strategy", "loss", "--epsilon", "0.01"], True),
        (TABULAR, ["--strategy", "parameter", "--radius", "0.5"], False),
        (QUADRATIC, ["--strategy", "parameter", "--radius", "0.5"], True),
        (QUADRATIC, ["--strategy", "hybrid", "--lam", "1", "--radius", "0.5"], True),
        (CONSTANTS, ["--strategy", "loss", "--lam", "0.5"], False),
        (CONSTANTS, ["--strategy", "parameter", "--radius", "0.1"], False),
    ],
)
def test_json_is_the_contract(capsys, tmp_path, problem, strategy, has_exact):
    code, out, err = run(capsys, tmp_path, problem, *strategy, "--json")
    assert code == 0
    assert err == ""
    content = json.loads(out)
    assert (content["exact"] is not None) == has_exact
    if has_exact:
        assert set(content["exact"]) == {"safety_gap", "proxy_safety_gap", "capability_gap"}
    assert {b["statement"] for b in content["bounds"]} == set(STATEMENTS)
    for b in content["bounds"]:
        assert b["quantity"] in QUANTITIES
        assert b["direction"] in ("upper", "lower", "equality")
        assert b["unit"]
        if has_exact and b["quantity"] in content["exact"] and b["status"] != "NOT_APPLICABLE":
            value = float(b["value"])  # "inf" is infinity
            truth = content["exact"][b["quantity"]]
            if b["direction"] != "lower":
                assert value >= truth - 1e-12
            if b["direction"] != "upper":
                assert value <= truth + 1e-12


def test_known_answer(capsys, tmp_path):
    """One contested context with disjoint answers: G_s = rho_s log(1 + rho_f / (lam rho_s))."""
    problem = {
        "kind": "tabular",
        "safety": {"context": [1.0], "target": [[1.0, 0.0]]},
        "task": {"context": [1.0], "target": [[0.0, 1.0]]},
    }
    _, out, _ = run(capsys, tmp_path, problem, "--lam", "2", "--json")
    gaps = json.loads(out)["exact"]
    assert gaps["safety_gap"] == pytest.approx(np.log(1 + 1 / 2))
    assert gaps["capability_gap"] == pytest.approx(np.log(1 + 2))


def test_a_mark_of_byte_order_as_windows_writes_it_is_no_fault(capsys, tmp_path):
    strategy = ("--strategy", "loss", "--lam", "0.5", "--json")
    plain = run(capsys, tmp_path, TABULAR, *strategy)
    assert run(capsys, tmp_path, "\ufeff" + json.dumps(TABULAR), *strategy) == plain


def test_a_table_for_people_and_a_file(capsys, tmp_path):
    code, out, _ = run(capsys, tmp_path, TABULAR, "--lam", "0.5", "--out", str(tmp_path / "out"))
    assert code == 0
    assert "T4" in out
    assert "CERTIFIED" in out
    assert json.loads((tmp_path / "out" / "bounds.json").read_text())["bounds"]


def test_the_folder_is_looked_at_before_the_bounds_are_computed(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("finebound.api.bounds", lambda *_: pytest.fail("computed"))
    (tmp_path / "out").write_text("a file")
    code, _, err = run(capsys, tmp_path, TABULAR, "--lam", "0.5", "--out", str(tmp_path / "out"))
    assert code == 2
    assert "is a file, and the results need a folder" in err


@pytest.mark.parametrize(
    ("problem", "says"),
    [
        ("", "is empty"),
        ("{", "is not JSON"),
        ("[]", "holds no JSON object"),
        ({"kind": "tabula"}, 'has "kind": "tabula"'),
        ({**TABULAR, "safety": {"context": [0.5, 0.6], "target": [[1, 0], [0, 1]]}}, "sums to 1.1"),
        ({**TABULAR, "safety": {"context": [0.5, 0.5]}}, "safety: it lacks target"),
        ({**TABULAR, "extra": 1}, "unknown entry extra"),
        ({"kind": "constants", "tvv": 0.1}, "Did you mean tv"),
        ({"kind": "constants"}, "names no constant"),
        ('{"kind": "constants", "tv": NaN}', "NaN"),
        ('{"kind": "tabular", "safety": {"context": [NaN, 1], "target": [[1]]}}', "NaN"),
        ({**QUADRATIC, "H_s": [[1, 0], [0, -1]]}, "not positive semi-definite"),
        ({**QUADRATIC, "theta_f": ["a", "b"]}, 'theta_f[0] is "a", not a number'),
        ({**QUADRATIC, "theta_f": ["1", 1]}, "not a number"),
        ({**QUADRATIC, "theta_f": [True, 1]}, "theta_f[0] is true, not a number"),
        ({**QUADRATIC, "theta_f": [10**400, 1]}, "too large a number"),
        ({**QUADRATIC, "theta_f": [[1, 1], [1, 1]]}, "theta_f[0] is a list, not a number"),
        ({**QUADRATIC, "H_s": [[1, 0], [0]]}, "H_s[1] has 1 entries, H_s[0] has 2"),
        ({**QUADRATIC, "H_f": [[0, 0], [0, 1]], "theta_f": [1, 1e200]}, "too large or too small"),
        ({**TABULAR, "safety": None}, "safety must be an object"),
        ({**TABULAR, "safety": {"context": 1, "target": [[1]]}}, "context is 1, not a list"),
        ({**TABULAR, "aligned": {"a": 1}}, "aligned is an object, not a list of rows"),
        ({"kind": ["tabular"]}, 'has "kind": ["tabular"]'),
        ("[" * 100_000, "nested too deeply"),
        ({"kind": "constants", "tv": "0.1"}, "not a number"),
        ({"kind": "constants", "tv": {"value": 10**400}}, "too large a number"),
        ({"kind": "constants", "tv": {"valu": 0.1}}, "it lacks value"),
        ({"kind": "constants", "tv": {"value": 0.1, "unit": 5}}, "unit is 5, not a text"),
        ({"kind": "constants", "tv": {"value": 0.1, "known": []}}, "known is a list, not a text"),
        ({"kind": "constants", "kl": {"value": 0.1, "unit": "bits"}}, "unit is 'bits'"),
        ({"kind": "constants", "kl": {"value": 1, "unit": "\x1b[31mX"}}, "unit is '\\x1b[31mX'"),
        ({"kind": "constants", "coverage_ratio": 1e-9}, "coverage_ratio is 1e-09"),
        ({"kind": "constants", "vocabulary": 2.5}, "whole number"),
        ({"kind": "constants", "tv": 1.5}, "at most 1"),
        ({"kind": "constants", "tv": True}, "tv: its value is true, not a number"),
        ({"kind": "constants", "loss_range": 1, "proxy_gap_at_task": 2}, "cannot exceed"),
        ('{"kind": "constants", "tv": Infinity}', "it holds Infinity"),
        ('{"kind": "constants", "kl": 1e400}', "it holds 1e400, too large"),
        ('{"kind": "constants", "kl": 1e-400}', "it holds 1e-400, too small"),
        ('{"kind": "constants", "kl": ' + "9" * 5000 + "}", "5000 digits, too large"),
        ('{"kind": "constants", "tv": 0.5, "tv": 0.1}', "the key 'tv' is there twice"),
        ('{"kind": "tabular", "kind": "constants", "tv": 0.1}', "the key 'kind' is there twice"),
        ({"kind": "constants", "x" * 20_000: 1}, "unknown constant xxx"),
        ({**QUADRATIC, "H_s": [[1, 0.1], [0, 2]]}, "H_s is not symmetric"),
        ({**QUADRATIC, "H_s": [[1, 0], [0, -1e-9]]}, "H_s is not positive semi-definite"),
        ({**QUADRATIC, "H_s": [[1, 0, 0], [0, 2, 0]]}, "expected 2 x 2"),
        ({**QUADRATIC, "H_s": [[1]]}, "expected 2 x 2"),
        ({**QUADRATIC, "theta_s": [0] * 2001}, "2001 coordinates; at most 2000"),
    ],
)
def test_bad_problems_are_one_paragraph_naming_the_file(capsys, tmp_path, problem, says):
    code, out, err = run(capsys, tmp_path, problem, "--lam", "0.5", "--out", str(tmp_path / "o"))
    assert code == 2
    assert out == ""
    assert says in err
    assert "PROBLEM.json" in err
    assert err.count("\n") == 1
    assert len(err) < 2500
    assert "\x1b" not in err
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--lam", "0"], "lam is 0"),
        (["--lam", "-1"], "lam is -1"),
        (["--strategy", "parameter", "--radius", "0"], "radius is 0"),
        (["--strategy", "parameter", "--lam", "1", "--radius", "1"], "--lam does not belong"),
        (["--strategy", "hybrid", "--lam", "1"], "needs --lam and --radius"),
        ([], "exactly one of --lam and --epsilon"),
    ],
)
def test_bad_strategies(capsys, tmp_path, arguments, says):
    code, out, err = run(capsys, tmp_path, TABULAR, *arguments)
    assert code == 2
    assert out == ""
    assert says in err


def test_a_missing_file_and_an_unknown_verb(capsys, tmp_path):
    assert main(["bound", str(tmp_path / "none.json"), "--lam", "1"]) == 2
    assert "does not exist" in capsys.readouterr().err
    assert main(["boundd"]) == 2
    assert "Did you mean `finebound bound`" in capsys.readouterr().err


@pytest.mark.parametrize(
    "code", ["import finebound", "from finebound.cli import main; main(['--help'])"]
)
def test_the_front_door_is_light(code):
    heavy = "{'torch', 'jax', 'transformers', 'numpy', 'sklearn'} & set(__import__('sys').modules)"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; sys.exit(1 if {heavy} else 0)"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_reader_that_stops_early_sees_no_traceback(tmp_path):
    path = tmp_path / "PROBLEM.json"
    path.write_text(json.dumps(TABULAR))
    command = [sys.executable, "-m", "finebound", "bound", str(path), "--lam", "1", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


HUGE = {
    "kind": "constants",
    "capability_gap_at_aligned": 0.8,
    "logit_lipschitz": 1e200,
    "lipschitz_task": 1e200,
    "quadratic_growth_proxy": 1.0,
    "loss_range": "inf",
    "tv": 0,
    "coverage_ratio": "inf",
    "overlap_task_mass": 0,
    "overlap_proxy_mass": 0,
    "proxy_floor": 0,
}


@pytest.mark.parametrize("problem", [TABULAR, QUADRATIC, HUGE])
@pytest.mark.parametrize("size", ["5e-324", "1e-300", "1e-100", "1e100", "1e300", "1.7e308"])
@pytest.mark.parametrize("options", [["--lam"], ["--epsilon"], ["--strategy", "parameter"]])
def test_extreme_numbers_give_trivial_bounds_and_never_a_nan(
    capsys, tmp_path, problem, size, options
):
    last = ["--radius", size] if len(options) == 2 else [size]
    code, out, err = run(capsys, tmp_path, problem, *options, *last, "--json")
    assert (code, err) == (0, "")
    content = json.loads(out)
    assert "null" not in json.dumps([b["terms"] for b in content["bounds"]])
    for b in content["bounds"]:
        assert b["value"] is not None
        if b["value"] == "inf" and b["direction"] == "upper":
            assert b["status"] in ("VACUOUS", "NOT_APPLICABLE")


ILL_CONDITIONED = {
    "kind": "quadratic",
    "H_s": [[4.2e-06, 0, 0], [0, 232474.0, 0], [0, 0, 219584.0]],
    "H_f": [[64, 40, 40], [40, 25, 25], [40, 25, 25]],
    "theta_s": [-16.2, -19.0, 13.1],
    "theta_f": [6.0, -3.5, -14.4],
}


@pytest.mark.parametrize("lam", ["1e-9", "6.4e-6", "1", "1e9"])
def test_no_certified_bound_lies_beyond_the_exact_gap(capsys, tmp_path, lam):
    _, out, _ = run(capsys, tmp_path, ILL_CONDITIONED, "--lam", lam, "--json")
    content = json.loads(out)
    error = content["exact_limits"]["error"]
    for b in content["bounds"]:
        truth = content["exact"].get(b["quantity"])
        if truth is None or b["status"] != "CERTIFIED":
            continue
        value, off = float(b["value"]), error[b["quantity"]]
        assert value >= truth - off if b["direction"] == "upper" else value <= truth + off
    assert all(error[name] <= 1e-15 * gap for name, gap in content["exact"].items())


def test_printed_bounds_are_rounded_to_their_own_side(capsys, tmp_path):
    _, out, _ = run(capsys, tmp_path, QUADRATIC, "--lam", "0.7", "--json")
    values = [b["value"] for b in json.loads(out)["bounds"] if b["status"] == "CERTIFIED"]
    for value in values:
        assert float(rounded(value, up=True)) >= value
        assert float(rounded(value, up=False)) <= value


def test_a_slack_radius_gives_the_range_of_the_safety_gap(capsys, tmp_path):
    problem = {**QUADRATIC, "H_f": [[1, 0], [0, 0]]}
    options = ("--strategy", "parameter", "--radius", "2")
    _, out, _ = run(capsys, tmp_path, problem, *options)
    assert "the one nearest to theta_s: others have a safety gap between" in " ".join(out.split())
    _, out, _ = run(capsys, tmp_path, problem, *options, "--json")
    content = json.loads(out)
    low, high = content["exact_limits"]["safety_gap_range"]
    assert low <= content["exact"]["safety_gap"] == 0.5 <= high
    assert high == pytest.approx(0.5 + 0.5 * 2 * 3, rel=1e-6)


def test_a_gap_without_a_digit_is_an_interval(capsys, tmp_path):
    """Slightly indefinite by rounding: whether theta can move there is not in the numbers."""
    problem = {**QUADRATIC, "H_s": [[1, 0], [0, -1e-17]], "H_f": [[1, 0], [0, 1]]}
    _, out, _ = run(capsys, tmp_path, problem, "--epsilon", "0", "--json")
    content = json.loads(out)
    assert content["exact"]["capability_gap"] is None
    low, high = content["exact_limits"]["between"]["capability_gap"]
    assert low <= 0.5 <= 1.0 <= high + 1e-9
    _, out, _ = run(capsys, tmp_path, problem, "--epsilon", "0")
    assert "capability_gap not resolved in double precision (between" in " ".join(out.split())


@pytest.mark.parametrize("kind", ["tabular", "quadratic", "constants"])
def test_damaged_problem_files_are_refused_in_words_or_answered(tmp_path, kind):
    """A small size of ``python -m benchmarks.problem_file_fuzz``."""
    from benchmarks.problem_file_fuzz import fuzz

    refused, answered = fuzz(tmp_path, kind, range(40))
    assert refused > 5
    assert answered > 1
