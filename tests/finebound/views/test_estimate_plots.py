"""The page's plots: the numbers they draw, their units, and the same bytes on every run."""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib
import numpy as np
import pytest

import finebound as fb
from finebound.results.estimate import EstimateResult
from finebound.views.estimate_plots import front_plot, hybrid_map, lambda_plots
from finebound.views.estimate_radius_plots import radius_plots
from finebound.views.page_plots import Plot

LAMS, RADII = (0.25, 1.0, 4.0), (0.01, 0.1, 50.0)


@pytest.fixture(scope="module")
def references(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Ten safety and ten task rows, two prompts in common with other answers; and ten apart."""
    folder = tmp_path_factory.mktemp("plots")
    nouns = ("cat", "dog", "fox", "owl", "bee", "ant", "elk", "eel")
    data = {
        "safety": [(f"May I tease the {noun}?", f"Leave the {noun} alone.") for noun in nouns],
        "task": [(f"Spell the word {noun}.", " ".join(noun)) for noun in nouns],
    }
    data["apart"] = list(data["task"])
    for name, answer in (("safety", "No."), ("task", "Yes.")):
        data[name] += [("Shall I go?", answer), ("Shall I stay?", answer)]
    made = {}
    for name, pairs in data.items():
        lines = [json.dumps({"prompt": p, "response": r}) for p, r in pairs]
        (folder / f"{name}.jsonl").write_text("\n".join(lines), encoding="utf-8")
        made[name] = str(folder / f"{name}.jsonl")
    return made


@pytest.fixture(scope="module")
def text_only(references: dict[str, str]) -> EstimateResult:
    return fb.estimate(safety=references["safety"], task=references["task"], lam=LAMS)


@pytest.fixture(scope="module")
def with_model(references: dict[str, str], tiny_model_folder: Path) -> EstimateResult:
    return fb.estimate(
        safety=references["safety"],
        task=references["task"],
        model=tiny_model_folder,
        lam=LAMS,
        radius=RADII,
    )


def all_plots(found: EstimateResult) -> list[Plot]:
    single = [plot for plot in (front_plot(found), hybrid_map(found)) if plot is not None]
    return [*single, *lambda_plots(found), *radius_plots(found)]


def test_every_axis_has_a_label_with_its_unit(with_model: EstimateResult) -> None:
    plots = all_plots(with_model)
    assert len(plots) == 6
    units = ("nats/response", "nats/token", "no unit", "norm")
    for plot in plots:
        assert plot.caption
        for axes in plot.figure.axes:
            labels = [axes.get_xlabel(), axes.get_ylabel()]
            assert all(any(unit in label for unit in units) for label in labels), labels


def test_the_same_estimate_draws_the_same_bytes_whatever_the_users_style(
    with_model: EstimateResult,
) -> None:
    first = [plot.data_uri for plot in all_plots(with_model)]
    with matplotlib.rc_context({"font.size": 31, "lines.linewidth": 9, "svg.fonttype": "none"}):
        second = [plot.data_uri for plot in all_plots(with_model)]
    assert first == second
    assert all(uri.startswith("data:image/svg+xml;base64,") for uri in first)


def test_the_front_marks_the_exact_optimum_of_each_lambda(text_only: EstimateResult) -> None:
    """At each mark no point of the front has a smaller G_f + lambda G_s."""
    axes = front_plot(text_only).figure.axes[0]
    marks = next(line for line in axes.lines if line.get_label() == "best possible")
    points = np.column_stack(marks.get_data())
    assert len(points) == len(LAMS)
    front = text_only.frontier
    safety_gaps, capability_gaps = np.array(front.safety_gap), np.array(front.capability_gap)
    for lam, (safety, capability) in zip(LAMS, points, strict=True):
        least = (capability_gaps + lam * safety_gaps).min()
        assert capability + lam * safety == pytest.approx(least, rel=2e-3)
        assert capability + lam * safety <= least * (1 + 1e-12)


def test_there_is_no_front_where_nothing_is_shared(references: dict[str, str]) -> None:
    apart = fb.estimate(safety=references["safety"], task=references["apart"])
    assert front_plot(apart) is None
    assert "no exact curve is drawn" in lambda_plots(apart)[0].caption


def test_without_a_model_nothing_is_drawn_against_a_radius(text_only: EstimateResult) -> None:
    assert radius_plots(text_only) == []
    assert hybrid_map(text_only) is None
    assert len(lambda_plots(text_only)) == 1


def test_gaps_against_lambda_are_those_of_the_table(text_only: EstimateResult) -> None:
    axes = lambda_plots(text_only)[0].figure.axes[0]
    drawn = {line.get_label(): np.array(line.get_ydata()) for line in axes.lines}
    table = text_only.costs("loss")
    np.testing.assert_array_equal(drawn["safety, exactly"], [row.forced_safety for row in table])
    np.testing.assert_array_equal(
        drawn["capability, at most"], [row.contested_capability.value for row in table]
    )
    assert (drawn["safety, at most"] >= drawn["safety, exactly"]).all()


def test_a_vertical_line_marks_the_planned_budget(with_model: EstimateResult) -> None:
    reach = with_model.planned_radius.value
    for plot in radius_plots(with_model):
        lines = plot.figure.axes[0].lines
        assert any(set(line.get_xdata()) == {reach} for line in lines)
        (low, high) = plot.figure.axes[0].get_xlim()
        assert low < min(RADII) < max(RADII) < high


def test_the_task_band_contains_the_bounds_of_the_table(with_model: EstimateResult) -> None:
    axes = radius_plots(with_model)[1].figure.axes[0]
    drawn = {line.get_label(): line.get_data() for line in axes.lines}
    radii, low = drawn["at least (T7)"]
    high = drawn["at most (T7)"][1]
    assert (low <= high).all()
    assert (np.diff(low) <= 1e-12).all()
    lower = [
        bound.value
        for bound in with_model.bounds
        if bound.statement == "T7"
        and bound.strategy.radius == 0.1
        and bound.quantity == "capability_gap"
        and bound.direction == "lower"
    ]
    assert np.interp(0.1, radii, low) == pytest.approx(max(lower), rel=1e-2)


def test_vacuous_bounds_are_drawn_apart_from_sound_ones(with_model: EstimateResult) -> None:
    """An untrained model's loss exceeds log V, so that T6 says nothing at any radius."""
    plot = radius_plots(with_model)[0]
    labels = [line.get_label() for line in plot.figure.axes[0].lines]
    assert "at most (T6), but vacuous" in labels
    assert "vacuous" in plot.caption


def test_each_cell_of_the_hybrid_map_is_the_rows_bound(with_model: EstimateResult) -> None:
    axes = hybrid_map(with_model).figure.axes[0]
    found = {
        (row.strategy.radius, row.strategy.lam): row.safety for row in with_model.costs("hybrid")
    }
    assert len(axes.texts) == len(found) == len(LAMS) * len(RADII)
    for text in axes.texts:
        column, row = text.get_position()
        assert text.get_text() == f"{found[RADII[row], LAMS[column]].value:.2g}"
    greys = [text.get_color() for text in axes.texts if text.get_color().lower() == "#8a9199"]
    assert len(greys) == sum(v.vacuous for v in found.values())
