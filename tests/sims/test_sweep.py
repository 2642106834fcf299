"""Sweeps: the product of a grid, the same numbers however it is cut, resumed or refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import sims.sweep as sweeping
from finebound.base.errors import InputError
from sims.certificate import least_objective
from sims.finetune import Plan
from sims.models.quadratic import Quadratic
from sims.pair import Knobs
from sims.sweep import Grid, sweep
from sims.sweep_record import first_difference
from theory.exact import exact
from theory.problem import QuadraticProblem
from theory.strategy import LossConstraint

PLAN = {"steps": 200, "rate": 0.3, "points": 4}
GIVEN = {
    "family": "tabular",
    "sizes": {"contexts": 1, "responses": 3},
    "overlap": [0.0, 0.6],
    "teacher_mismatch": [0.2],
    "lam": [0.0, 2.0],
    "epsilon": [0.05],
    "radius": [0.0, 0.4],
    "hybrid": [[2.0, 0.4]],
    "stop": [0.1],
    "seeds": 5,
    "plan": PLAN,
    "alignment": PLAN,
}
GRID = Grid.of(GIVEN)
STRATEGIES = 7
# Ten instances in blocks of 3: four blocks, the last one padded.
RUNS_AT_ONCE = 3 * STRATEGIES


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sweeping._RUNS_AT_ONCE, "cpu", RUNS_AT_ONCE)


@pytest.fixture(scope="module")
def columns() -> dict[str, np.ndarray]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sweeping._RUNS_AT_ONCE, "cpu", RUNS_AT_ONCE)
        return sweep(GRID)


def _same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> None:
    assert list(one) == list(other)
    for name, values in one.items():
        assert values.dtype == other[name].dtype, name
        np.testing.assert_array_equal(values, other[name], err_msg=name)


def test_a_sweep_is_the_product_of_knobs_seeds_and_strategies(columns) -> None:
    assert GRID.runs == len(columns["lam"]) == 2 * 5 * STRATEGIES
    by_instance = columns["strategy"].reshape(10, STRATEGIES)
    expected = ["lam", "lam", "epsilon", "radius", "radius", "hybrid", "stop"]
    assert (by_instance == expected).all()
    np.testing.assert_array_equal(columns["overlap"], np.repeat([0.0, 0.6], 5 * STRATEGIES))
    np.testing.assert_array_equal(columns["seed"], np.tile(np.repeat(np.arange(5), STRATEGIES), 2))
    penalty = columns["strategy"] == "lam"
    np.testing.assert_array_equal(columns["lam"][penalty], np.tile([0.0, 2.0], 10))
    assert columns["path_task"].shape == (GRID.runs, 5)


def test_an_instance_is_aligned_once_for_all_strategies(columns) -> None:
    for name in ("start_safety", "start_proxy", "start_task"):
        by_instance = columns[name].reshape(10, STRATEGIES)
        assert (by_instance == by_instance[:, :1]).all()
    assert (columns["start_safety"] < 1e-6).all()


def test_radius_zero_is_the_aligned_model_to_the_last_bit(columns) -> None:
    still = columns["radius"] == 0
    assert still.sum() == 10
    for name in ("safety", "proxy", "task"):
        np.testing.assert_array_equal(columns[name][still], columns[f"start_{name}"][still])
    assert (columns["displacement"][still] == 0).all()


def test_lambda_zero_does_not_see_the_proxy(columns) -> None:
    ignored = (columns["strategy"] == "lam") & (columns["lam"] == 0)
    assert (columns["task"][ignored] < 1e-6).all()
    overlapping = ignored & (columns["overlap"] > 0)
    assert (columns["proxy"][overlapping] > 0.01).all()


def test_balls_and_limits_are_kept_and_slack_tells_who_converged(columns) -> None:
    assert (columns["displacement"] <= columns["radius"] * (1 + 1e-9)).all()
    limited = (columns["strategy"] == "epsilon") & columns["converged"]
    assert limited.any()
    assert (columns["proxy"][limited] <= 0.05 * 1.001).all()
    whole = np.isin(columns["strategy"], ["lam", "radius", "hybrid"])
    assert columns["converged"][whole].all()
    assert (columns["slack"][whole] <= 1e-6 * (1 + columns["lam"][whole])).all()
    stopped = columns["strategy"] == "stop"
    assert not columns["converged"][stopped].any()
    assert (columns["slack"][stopped] > 1e-6).all()


def test_slack_of_a_penalty_is_the_distance_to_the_closed_form_minimum(columns) -> None:
    def least(number, overlap):
        key = jax.random.split(jax.random.fold_in(jax.random.key(0), number), 4)[0]
        knobs = Knobs(overlap, 0.5, 0.0, 0.2, 0.5)
        return least_objective(GRID.build().problem(key, knobs).pair, 0.0)

    stopped = columns["strategy"] == "stop"
    floors = jax.vmap(least)(columns["seed"][stopped], columns["overlap"][stopped])
    np.testing.assert_allclose(
        columns["slack"][stopped], columns["task"][stopped] - floors, rtol=1e-9
    )


def test_slack_of_a_bowl_is_the_closed_form() -> None:
    grid = Grid.of(
        {"family": "quadratic", "sizes": {"dimension": 4}, "lam": [3.0], "seeds": 2,
         "plan": {"steps": 20, "rate": 0.1, "points": 1}}
    )  # fmt: skip
    found = sweep(grid)
    for k in range(2):
        key = jax.random.split(jax.random.fold_in(jax.random.key(0), k), 4)[0]
        bowls = jax.tree.map(np.asarray, Quadratic(4).problem(key, Knobs()))
        problem = QuadraticProblem(bowls.H_s, bowls.H_f, bowls.theta_s, bowls.theta_f)
        best = exact(problem, LossConstraint(lam=3.0))
        reached = found["task"][k] + 3.0 * found["proxy"][k]
        excess = reached - best.capability_gap - 3.0 * best.proxy_safety_gap
        assert excess > 1e-3
        assert found["slack"][k] == pytest.approx(excess, rel=1e-9)
        assert not found["converged"][k]


def test_one_compile_whatever_the_chunks_and_the_same_numbers(columns) -> None:
    compiles: list[str] = []

    def count(event: str, seconds: float, **details: object) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            compiles.append(event)

    sweeping._compiled.cache_clear()
    jax.monitoring.register_event_duration_secs_listener(count)
    try:
        again = sweep(GRID, runs_a_file=1)
    finally:
        jax.monitoring.unregister_event_duration_listener(count)
    assert len(compiles) == 1
    _same(columns, again)


def test_a_killed_sweep_goes_on_and_ends_with_the_same_numbers(columns, tmp_path: Path) -> None:
    def killed(items, doing):
        for i, item in enumerate(items):
            if i == 2:
                raise KeyboardInterrupt
            yield item

    with pytest.raises(KeyboardInterrupt):
        sweep(GRID, out=tmp_path, runs_a_file=1, progress=killed)
    first, second = sorted(tmp_path.glob("chunk-*.parquet"))
    written = {path: path.stat().st_mtime_ns for path in (first, second)}
    (tmp_path / ".chunk-00002.parquet.x1").write_bytes(b"half")

    left: list[object] = []
    _same(columns, sweep(GRID, out=tmp_path, progress=lambda items, _: left.extend(items) or items))
    assert len(left) == 2
    assert {path: path.stat().st_mtime_ns for path in written} == written
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [*(f"chunk-{k:05d}.parquet" for k in range(4)), "manifest.json"]

    def untouched(items, doing):
        raise AssertionError("a finished sweep trains nothing")

    _same(columns, sweep(GRID, out=tmp_path, progress=untouched))


# Killed for good: no handler runs. The second process also has eight devices.
SCRIPT = """
import os, signal, sys
from pathlib import Path
import jax, numpy as np
import sims.sweep as sweeping
sweeping._RUNS_AT_ONCE["cpu"] = int(sys.argv[3])
def progress(items, doing):
    for i, item in enumerate(items):
        if i == 2 and sys.argv[4] == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        yield item
grid = sweeping.Grid.read(sys.argv[1])
sweeping.sweep(grid, out=Path(sys.argv[2]), runs_a_file=1, progress=progress)
print(len(jax.devices()))
"""


def _process(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    given = {**os.environ, "JAX_PLATFORMS": "cpu", **environment}
    command = [sys.executable, "-c", SCRIPT, *arguments]
    return subprocess.run(command, env=given, capture_output=True, text=True)


def test_eight_devices_after_a_sigkill_give_the_numbers_of_one(columns, tmp_path: Path) -> None:
    config, out = tmp_path / "grid.json", tmp_path / "out"
    config.write_text(json.dumps(GIVEN))
    arguments = (str(config), str(out), str(RUNS_AT_ONCE))
    killed = _process(*arguments, "kill")
    assert killed.returncode == -signal.SIGKILL
    assert len(list(out.glob("chunk-*.parquet"))) == 2
    devices = "--xla_force_host_platform_device_count=8"
    ended = _process(*arguments, "on", XLA_FLAGS=devices)
    assert ended.stdout.split() == ["8"], ended.stderr
    assert ended.stderr == ""
    _same(columns, sweep(GRID, out=out))


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"lam": [0.0, 3.0]}, "lam"),
        ({"plan": {**PLAN, "steps": 300}}, "plan.steps"),
        ({"seeds": 6}, "seeds"),
        ({"sizes": {"contexts": 2, "responses": 3}}, "sizes.contexts"),
    ],
)
def test_a_folder_of_another_sweep_is_refused(change: dict, key: str, tmp_path: Path) -> None:
    from sims.sweep_record import Layout, Record

    Record.open(tmp_path, GRID).start(Layout(block=3, instances=3))
    before = (tmp_path / "manifest.json").read_text()
    with pytest.raises(InputError, match=rf"another sweep: {key} was .* and is .* now\. Choose"):
        sweep(Grid.of({**GIVEN, **change}), out=tmp_path)
    assert (tmp_path / "manifest.json").read_text() == before


def test_chunks_without_a_manifest_and_damaged_ones_are_refused(tmp_path: Path) -> None:
    (tmp_path / "chunk-00000.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match=r"without a manifest\.json"):
        sweep(GRID, out=tmp_path)
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(InputError, match="not the manifest of a sweep"):
        sweep(GRID, out=tmp_path)
    (tmp_path / "manifest.json").unlink()
    (tmp_path / "chunk-00000.parquet").unlink()
    sweep(GRID, out=tmp_path)
    (tmp_path / "chunk-00000.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match=r"chunk-00000.parquet: cannot be read .* Remove this"):
        sweep(GRID, out=tmp_path)


def test_less_memory_means_smaller_blocks_and_too_little_is_refused_with_the_need(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sweeping._RUNS_AT_ONCE, "cpu", 10)
    plan = {"steps": 1, "points": 1}
    grid = Grid(family="tabular", lam=[1.0], seeds=10, plan=plan, alignment=plan)
    whole = sweeping._fitted(grid, 1 << 30, None)
    needed = sweeping._bytes(whole.compiled)
    assert whole.block == 10
    smaller = sweeping._fitted(grid, needed // 2, None)
    assert 1 <= smaller.block < 10
    assert sweeping._bytes(smaller.compiled) <= needed // 2
    with pytest.raises(InputError, match=r"10 instances at once .* need .* MiB, more than"):
        sweeping._fitted(grid, needed // 2, 10)
    with pytest.raises(InputError, match=r"an instance of the sweep .* need 0\.0 MiB"):
        sweeping._fitted(grid, 64, None)


def test_sizes_that_no_memory_holds_are_refused_before_anything_is_computed(tmp_path) -> None:
    huge = Grid.of({**GIVEN, "sizes": {"contexts": 10**6, "responses": 10**3}})
    with pytest.raises(InputError, match=r"an instance .* GiB, more than the 2\.0 GiB allowed"):
        sweep(huge, out=tmp_path / "out")
    many = Grid.of({**GIVEN, "seeds": 10**7})
    with pytest.raises(InputError, match=r"results of 140,000,000 runs need .* GiB"):
        sweep(many, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sizes": {"contexts": 0}}, "0 contexts has no data. Give at least 1"),
        ({"sizes": {"responses": 1}}, "1 responses: .* Give at least 3"),
        ({"sizes": {"depth": 2}}, r"sizes\.depth is no size of the family tabular"),
        ({"family": "quadratic", "sizes": {"dimension": 1}}, "Give a whole number of at least 2"),
        ({"family": "transformer", "sizes": {"heads": 3}}, "16 is no multiple of 3 heads"),
        ({"lam": ["inf"]}, "lam is infinite: .* large finite number .* `finebound bound`"),
        ({"hybrid": [["inf", 1]]}, "lam of a hybrid is infinite"),
        ({"lam": [-1]}, "lam is -1. Give a number of at least 0"),
        ({"lam": ["nan"]}, "lam is nan"),
        ({"radius": [-0.1]}, "radius is -0.1"),
        ({"radius": ["inf"]}, r"radius is inf. .* lam: \[0\]"),
        ({"epsilon": [0]}, "epsilon is 0: .* infinite lambda"),
        ({"stop": [1.5]}, "stop is 1.5"),
        ({"overlap": [1.2]}, "overlap is 1.2. Give numbers from 0 to 1"),
        ({"overlap": []}, "overlap is an empty list"),
        ({"seeds": 0}, "seeds is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"plan": {"steps": 0}}, "plan: .* at least 1"),
        ({"plan": {"rate": -1}}, r"plan\.rate is -1"),
        ({"plan": {"setps": 5}}, r"plan\.setps: .* Keys of a sweep"),
        ({"lamda": [1]}, "lamda: .* Keys of a sweep: family, sizes, overlap"),
        ({"family": "linear"}, "family: .* 'tabular'"),
    ],
)
def test_what_means_nothing_is_refused_in_a_paragraph(change: dict, message: str) -> None:
    content = {"family": "tabular", "lam": [1.0], **change}
    with pytest.raises(InputError, match=message):
        Grid.of(content, file="grid.json")


def test_a_sweep_without_a_strategy_is_refused() -> None:
    with pytest.raises(InputError, match="names no strategy"):
        Grid.of({"family": "mlp"})


@pytest.mark.parametrize("name", ["grid.json", "grid.yaml"])
def test_a_grid_is_read_from_a_file_and_errors_name_it(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(json.dumps(GIVEN))
    assert Grid.read(path) == GRID
    for text, message in [("{", "cannot be read"), ("3", "no object"), ('{"lam": [1]}', "family")]:
        path.write_text(text)
        with pytest.raises(InputError, match=rf"{name}.*{message}"):
            Grid.read(path)
    path.unlink()
    with pytest.raises(InputError, match=name):
        Grid.read(path)


def test_defaults_are_written_out_so_that_they_may_change() -> None:
    told = Grid(family="mlp", lam=[1.0]).as_json()
    assert told["sizes"]["hidden"] == 16
    assert told["plan"]["steps"] == told["alignment"]["steps"] == 400
    assert first_difference(told, told) is None
    assert first_difference({"a": {"b": 1}}, {"a": {"b": 1}, "c": 2}) == ("c", '"absent"', "2")


@pytest.mark.parametrize("family", ["tabular", "quadratic", "log-linear", "mlp", "transformer"])
def test_every_family_is_built_with_a_budget_of_its_own(family: str) -> None:
    grid = Grid(family=family, lam=[1.0])
    assert grid.build().name == family
    assert isinstance(grid.budget(), Plan)
    assert sweeping._least_bytes(grid) > 0
