"""What holds for every figure: pure functions of small records, readable, the same bytes."""

from __future__ import annotations

import re
import warnings

import matplotlib
import numpy as np
import pytest
from matplotlib.text import Text

from finebound.views.claims import compose
from finebound.views.style import paper_style
from paper_figures.drawing import draw_figures
from paper_figures.paths import record_file
from paper_figures.records import make_record, read_record
from paper_figures.registry import figure_module, figure_names

FROM_THEORY = [name for name in figure_names() if figure_module(name).SOURCE == "theory"]
# Proved for every instance, not only for the one that is shown.
BOUNDS = ("T10(a)", "T10(b)", "T5, upper bound,")


def drawn(name, data):
    with paper_style():
        figure = figure_module(name).draw(data)
        figure.canvas.draw()
    return figure


def leaves(value, path=""):
    """Every number and string of a record with its place."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, f"{path}/{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from leaves(item, f"{path}/{index}")
    else:
        yield path, value


def test_the_figures_of_theory_are_registered():
    assert {"pareto_front", "proxy_floor"} <= set(FROM_THEORY)


def test_source_says_where_the_data_come_from(name):
    assert figure_module(name).SOURCE in ("theory", "measurement")


def test_draws_from_its_record_without_a_warning(name, data):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn(name, data)


def test_axes_have_labels_with_units_and_there_is_a_legend(name, data):
    figure = drawn(name, data)
    assert figure.axes
    for axes in figure.axes:
        assert re.search(r"\(.+\)$", axes.get_xlabel()), axes.get_xlabel()
        shown = axes.get_ylabel() or figure.axes[0].get_ylabel()
        assert re.search(r"\(.+\)$", shown), shown
    assert figure.legends or any(axes.get_legend() for axes in figure.axes)


def test_no_text_is_clipped_or_too_small(name, data):
    figure = drawn(name, data)
    page = figure.bbox
    texts = [t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip()]
    assert len(texts) > 5
    for text in texts:
        if _is_beyond_the_limits(text):
            continue
        box = text.get_window_extent()
        assert box.x0 >= 0, text.get_text()
        assert box.y0 >= 0, text.get_text()
        assert box.x1 <= page.x1, text.get_text()
        assert box.y1 <= page.y1, text.get_text()
        assert text.get_fontsize() >= 7.5, text.get_text()


def _is_beyond_the_limits(text):
    """Matplotlib keeps the labels of ticks beyond the limits, and does not draw them."""
    if text.axes is None:
        return False
    for labels, limits, place in (
        (text.axes.get_xticklabels(), text.axes.get_xlim(), 0),
        (text.axes.get_yticklabels(), text.axes.get_ylim(), 1),
    ):
        if text in labels:
            return not limits[0] <= text.get_position()[place] <= limits[1]
    return False


def test_the_same_bytes_twice_whatever_the_users_settings(name, tmp_path):
    first = draw_figures([name], tmp_path / "first")[0]
    with matplotlib.rc_context({"font.size": 23, "lines.linewidth": 9, "savefig.dpi": 30}):
        second = draw_figures([name], tmp_path / "second")[0]
    assert {file.suffix for file in first.files} == {".png", ".pdf"}
    for a, b in zip(first.files, second.files, strict=True):
        assert a.read_bytes() == b.read_bytes(), a.name
        assert not re.search(rb"CreationDate|Matplotlib v|/Producer", a.read_bytes())


def test_the_figure_depends_on_its_data(name, data, tmp_path):
    """A changed number changes the picture: nothing is drawn from anywhere else."""
    before = np.asarray(drawn(name, data).canvas.buffer_rgba()).copy()

    def halved(value):
        if isinstance(value, dict):
            return {
                k: v if k in ("overlap", "disagreement") else halved(v) for k, v in value.items()
            }
        if isinstance(value, list):
            return [halved(item) for item in value]
        return 0.5 * value if isinstance(value, float) else value

    after = np.asarray(drawn(name, halved(data)).canvas.buffer_rgba())
    assert before.shape == after.shape
    assert (before != after).any()


def test_the_record_is_small_and_says_what_made_it(name):
    record = read_record(name)
    assert record_file(name).stat().st_size < 300_000
    assert record["manifest"]["given"]["command"].startswith(
        f"python -m paper_figures.records {name}"
    )
    assert isinstance(record["manifest"]["seed"], int)
    assert "numpy" in record["manifest"]["versions"]


@pytest.mark.parametrize("figure", FROM_THEORY)
def test_the_record_is_made_again_from_its_seed(figure):
    committed = read_record(figure)
    anew = make_record(figure, seed=committed["manifest"]["seed"])
    then, now = dict(leaves(committed["data"])), dict(leaves(anew["data"]))
    assert then.keys() == now.keys()
    for place, value in then.items():
        if isinstance(value, float):
            assert now[place] == pytest.approx(value, rel=1e-12, abs=1e-14), place
        else:
            assert now[place] == value, place


@pytest.mark.parametrize("figure", FROM_THEORY)
def test_another_seed_gives_other_data_and_no_broken_bound(figure):
    committed = read_record(figure)
    other = make_record(figure, seed=committed["manifest"]["seed"] + 1)["data"]
    assert dict(leaves(other)) != dict(leaves(committed["data"]))
    bounds = [c for c in figure_module(figure).claims(other) if c.statement in BOUNDS]
    assert bounds
    assert all(claim.holds for claim in bounds)


def test_the_caption_is_made_of_the_claims(name, data):
    module = figure_module(name)
    claims = module.claims(data)
    assert claims
    text = compose(module.shows(data), claims)
    for claim in claims:
        assert re.search(r"\d", claim.evidence), "evidence is numbers"
        assert f"{claim.statement} {'holds' if claim.holds else 'DOES NOT HOLD'} here" in text


@pytest.mark.parametrize("figure", FROM_THEORY)
def test_every_claim_holds_in_the_committed_data(figure):
    claims = figure_module(figure).claims(read_record(figure)["data"])
    assert [str(claim) for claim in claims if not claim.holds] == []
