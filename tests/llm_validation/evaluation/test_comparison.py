"""Methods compared item by item: pairing, seeds, failures, runs of a grid, tables."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from finebound.base.errors import InputError
from finebound.base.records import spawn_seed
from finebound.results.evaluation import EvaluationResult, ScoredItem
from finebound.views.compare import tables
from finebound.views.tables import Table
from llm_validation.evaluation.fairness.flips import bias_changes
from llm_validation.evaluation.fairness.items import Item
from llm_validation.evaluation.fairness.scores import score
from llm_validation.evaluation.statistics.comparison import compare
from llm_validation.evaluation.statistics.intervals import (
    difference_over_items_and_seeds,
    mean_over_items_and_seeds,
)
from llm_validation.evaluation.statistics.runs import results_of_runs, runs_of
from theory.confidence import Interval


def result(label, scores, *, start=0, share=False, evaluation="translation"):
    items = tuple(
        ScoredItem(id=str(start + i), category="even" if i % 2 == 0 else "odd", score=s)
        for i, s in enumerate(scores)
    )
    return EvaluationResult(
        evaluation=evaluation, label=label, score_means="chrF", items=items, share=share
    )


def behind(gates, found):
    return found.model_copy(update={"failed_gates": gates})


@pytest.fixture
def three():
    rng = np.random.default_rng(0)
    common = rng.normal(50.0, 10.0, 40)
    return {
        name: (common + rng.normal(shift, 2.0, 40)).tolist()
        for name, shift in (("base", 0.0), ("lora", 3.0), ("ia3", 0.2))
    }


def test_three_methods_are_scipys_friedman_and_wilcoxon(three):
    found = compare([result(name, scores) for name, scores in three.items()])
    reference = stats.friedmanchisquare(*three.values())
    assert found.friedman.statistic == pytest.approx(reference.statistic, rel=1e-9)
    assert found.friedman.p_value == pytest.approx(reference.pvalue, rel=1e-9)
    pair = next(p for p in found.pairs if (p.first, p.second) == ("base", "lora"))
    alone = stats.wilcoxon(np.subtract(three["base"], three["lora"]))
    assert pair.p_value == pytest.approx(alone.pvalue, rel=1e-9)
    assert pair.p_adjusted == pytest.approx(3 * alone.pvalue, rel=1e-9)
    lora = found.methods[1]
    assert lora.mean == pytest.approx(np.mean(three["lora"]))
    assert lora.change.lower > 1.5
    assert found.methods[0].change is None
    ia3 = found.methods[2].change
    assert ia3.lower < 0.0 < ia3.upper


def test_two_methods_need_no_friedman(three):
    found = compare([result("base", three["base"]), result("lora", three["lora"])])
    assert found.friedman is None
    assert len(found.pairs) == 1
    differences = np.subtract(three["lora"], three["base"])
    assert found.normality.p_value == pytest.approx(stats.shapiro(differences).pvalue, rel=1e-9)


def test_categories_have_their_own_means(three):
    found = compare([result(name, scores) for name, scores in three.items()], base="ia3")
    even = found.methods[1].categories["even"]
    assert even.n == 20
    assert even.mean == pytest.approx(np.mean(three["lora"][::2]))
    expected = np.mean(three["lora"][::2]) - np.mean(three["ia3"][::2])
    assert even.difference == pytest.approx(expected)
    assert found.base == "ia3"


def test_shares_have_wilsons_interval():
    found = compare([result("a", [1.0] * 10, share=True), result("b", [0.0] * 10, share=True)])
    assert found.methods[0].score.lower == pytest.approx(0.7225, abs=1e-3)
    plain = compare([result("a", [1.0] * 10), result("b", [0.0] * 10)])
    assert plain.methods[0].score.lower == pytest.approx(0.025**0.1)


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("seeds", [1, 3])
def test_six_items_that_stay_the_same_do_not_make_a_known_zero(share, seeds):
    """The bootstrap of equal differences is 0 [0, 0], whatever the number of items."""
    scores = [1.0, 0.0, 1.0, 1.0, 0.0, 1.0]
    records = [result("base", scores, share=share)]
    records += [result("lora", scores, share=share) for _ in range(seeds)]
    found = compare(records)
    difference = found.methods[1].change
    assert difference.estimate == 0.0
    assert difference.lower < -0.3
    assert difference.upper > 0.3
    assert found.methods[1].decided is False
    assert found.headline == ""
    assert "undecided over 6 items (no item differs; n = 6 is small)" in found.undecided[0]
    told = tables(found)[1].markdown()
    assert "0.000 [0.000, 0.000]" not in told


def test_equal_scores_of_no_known_scale_have_no_interval():
    found = compare([result("base", [0.0] * 6), result("lora", [0.0] * 6)])
    assert found.methods[1].change == Interval(0.0, -np.inf, np.inf)
    assert "0.000 (n too small)" in tables(found)[1].markdown()


def test_many_items_that_differ_keep_the_bootstraps_interval(three):
    found = compare([result(name, scores) for name, scores in three.items()])
    rng = np.random.default_rng(spawn_seed(0, "lora overall"))
    mean_over_items_and_seeds([three["lora"]], rng=rng)
    again = difference_over_items_and_seeds([three["lora"]], [three["base"]], rng=rng)
    assert found.methods[1].change == again
    assert found.methods[1].decided is True
    assert found.methods[2].decided is False
    assert found.methods[0].decided is None
    assert found.headline.startswith("lora is above base: ")
    (open_,) = found.undecided
    assert open_.startswith("ia3 and base are undecided over 40 items (the difference may be")


def test_the_interval_of_few_items_covers_as_it_says():
    """Of five normal differences a percentile bootstrap covers 80 %, not 95 %."""
    rng, held = np.random.default_rng(4), 0
    for _ in range(300):
        a, b = rng.normal(size=(2, 5))
        difference = compare([result("b", b.tolist()), result("a", a.tolist())])
        found = difference.methods[1].change
        held += found.lower <= 0.0 <= found.upper
    assert held >= 0.92 * 300


def test_six_differences_among_many_zeros_are_few():
    """Scipy's normal approximation, taken where there are zeros, says p = 0.014."""
    found = compare([result("a", [0.0] * 16), result("b", [1.0] * 6 + [0.0] * 10)])
    assert found.pairs[0].n_nonzero == 6
    assert found.pairs[0].p_value == pytest.approx(2.0 / 64.0)
    assert found.methods[1].decided is True
    four = compare([result("a", [0.0] * 16), result("b", [1.0] * 4 + [0.0] * 12)])
    assert four.methods[1].decided is False
    assert "only 4 differ" in four.undecided[0]


def test_cells_are_no_formulas_and_hold_no_controls():
    names = ["=cmd|' /C calc'!A0", "+1", "-x", "@sum", "\t=1", "a\x1b[31mb\x00", "c\rd\ne", " =1"]
    found = Table("t", "title \x1b]0;x\x07", ("=head", *names[:1]), tuple((n, -1.5) for n in names))
    rows = list(csv.reader(io.StringIO(found.csv())))
    assert rows[0] == ["'=head", "'=cmd|' /C calc'!A0"]
    assert [row[0] for row in rows[1:]] == [
        "'=cmd|' /C calc'!A0", "'+1", "'-x", "'@sum", "'\t=1", "ab", "cd e", "' =1",
    ]  # fmt: skip
    assert {row[1] for row in rows[1:]} == {"-1.5"}  # a number stays one
    for text in (found.markdown(), found.latex(), found.csv()):
        assert not any(ord(letter) < 32 and letter not in "\t\n" for letter in text)


def test_items_are_paired_by_id_whatever_their_order(three):
    turned = result("lora", three["lora"])
    turned = turned.model_copy(update={"items": turned.items[::-1]})
    straight = compare([result("base", three["base"]), result("lora", three["lora"])])
    assert compare([result("base", three["base"]), turned]).pairs == straight.pairs


def test_failed_and_unpaired_items_are_counted_not_guessed():
    a = result("a", [1.0, None, 3.0, 4.0])
    b = result("b", [0.0, 1.0, 2.0, 9.0], start=0)
    c = result("b", [5.0], start=9)
    found = compare([a, b, c])
    assert found.items == 3
    assert found.unpaired_items == 2
    assert [m.failed for m in found.methods] == [1, 0]
    assert [m.seeds for m in found.methods] == [1, 2]
    assert found.methods[0].mean == pytest.approx(8 / 3)


def test_records_of_one_label_are_its_seeds():
    rng = np.random.default_rng(1)
    base = rng.normal(size=30)
    seeds = [result("lora", (base + shift).tolist()) for shift in (-1.0, 0.0, 1.0)]
    found = compare([result("base", base.tolist()), *seeds])
    lora = found.methods[1]
    assert lora.seeds == 3
    assert lora.difference == pytest.approx(0.0, abs=1e-12)
    assert lora.change.lower < -0.5 < 0.5 < lora.change.upper
    assert found.pairs[0].n_nonzero <= 30


def test_what_cannot_be_compared_is_refused():
    a, b = result("a", [1.0, 2.0]), result("b", [1.0, 2.0])
    with pytest.raises(InputError, match="share no scored item"):
        compare([a, result("b", [1.0], start=7)])
    with pytest.raises(InputError, match="label 'c'"):
        compare([a, b], base="c")
    with pytest.raises(InputError, match="nothing to compare"):
        compare([a, a])
    odd = ScoredItem(id="0", category="odd", score=1.0)
    other = b.model_copy(update={"items": (odd,)})
    with pytest.raises(InputError, match="category 'odd' here"):
        compare([a, other])
    with pytest.raises(ValueError, match="cannot be compared"):
        compare([a, result("b", [1.0], evaluation="bbq")])


def test_few_items_are_said_to_be_few():
    assert "no two-sided" in compare([result("a", [1.0, 2.0]), result("b", [0.0, 1.0])]).notes[0]
    single = compare([result("a", [1.0]), result("b", [0.0])])
    assert single.pairs == ()
    assert single.normality is None
    assert "nothing to test" in single.notes[0]


def run_entry(task, method, seed, safety, **more):
    return {
        "id": f"{task}_{method}_s{seed}", "status": "done", "safety_gap": safety,
        "capability_gap": 0.0, "gates": {"trained": True}, "task": task, "proxy": None,
        "method": method, "seed": seed, "strategy": {"kind": "none"},
        "safety_interval": [safety - 0.1, safety + 0.2], **more,
    }  # fmt: skip


def compared_runs(entries, **options):
    runs = runs_of({"runs": entries}, file=Path("validate.json"))
    results, notes = results_of_runs([(Path("validate.json"), runs)], by=None, **options)
    safety = [r for r in results if r.evaluation == "safety_gap"]
    return compare(safety, notes=notes, **options)


def test_runs_are_grouped_by_what_differs_and_paired_over_the_rest():
    entries = [
        run_entry(task, method, seed, level + 0.01 * seed + extra)
        for task, level in (("code", 0.1), ("general", 0.5), ("maths", 0.9))
        for method, extra in (("lora", 0.0), ("full", 0.2))
        for seed in (0, 1)
    ]
    found = compared_runs(entries)
    assert [m.label for m in found.methods] == ["lora", "full"]
    assert [m.seeds for m in found.methods] == [2, 2]
    assert found.items == 3
    assert found.methods[1].difference == pytest.approx(0.2)


def test_a_run_behind_a_failed_gate_is_marked_and_in_no_test():
    entries = [
        run_entry(task, m, 0, level + place)
        for place, task in enumerate(("code", "maths", "general"))
        for m, level in (("lora", 0.1), ("full", 0.2), ("ia3", 0.3))
    ]
    for entry in entries:
        entry["gates"]["trained"] = entry["method"] != "ia3"
    found = compared_runs(entries)
    assert {m.label: m.failed_gates for m in found.methods} == {
        "lora": (), "full": (), "ia3": ("trained",),
    }  # fmt: skip
    assert [m.tested for m in found.methods] == [True, True, False]
    assert found.methods[2].difference == pytest.approx(0.2)
    assert "code_ia3_s0 (trained)" in found.notes[0]
    assert [(p.first, p.second) for p in found.pairs] == [("lora", "full")]
    assert found.friedman is None
    kept = compared_runs(entries, keep_failed_gates=True)
    assert kept.friedman.k == 3
    assert kept.methods[2].failed_gates == ("trained",)


def test_seeds_behind_a_failed_gate_are_left_out_where_others_passed():
    scores = [1.0, 2.0, 3.0]
    bad = behind(("trained",), result("lora", [9.0, 9.0, 9.0]))
    everything = [bad, result("lora", scores), result("base", scores)]
    found = compare(everything)
    assert found.base == "lora"
    assert (found.methods[0].seeds, found.methods[0].mean) == (1, 2.0)
    assert found.methods[0].failed_gates == ()
    kept = compare(everything, keep_failed_gates=True).methods[0]
    assert (kept.seeds, kept.failed_gates) == (2, ("trained",))


def test_an_untested_method_takes_no_items_away():
    scores = [1.0, 2.0, 3.0, 4.0]
    bad = behind(("trained", "format"), result("bad", [5.0, None, None, 6.0]))
    found = compare([bad, result("base", scores), result("lora", scores)])
    assert (found.base, found.items) == ("base", 4)
    own = found.methods[0]
    assert own.n == 2
    assert own.difference == pytest.approx(3.0)
    alone = compare([bad, result("base", scores)])
    assert (alone.pairs, alone.normality) == ((), None)
    assert "nothing to test" in alone.notes[0]
    for table in tables(found):
        assert all("bad" not in row[:2] for row in table.rows)
    scores_table, *_, tests = tables(found)
    assert "bad \N{DAGGER} (trained, format)" in scores_table.markdown()
    assert "bad \N{DAGGER} (trained, format) lower" in scores_table.csv()
    assert r"bad \textdagger{} (trained, format)" in scores_table.latex()
    assert "in no test" in scores_table.title
    assert tests.name == "translation_pairs"  # two alike: no value to look at


def test_a_single_run_keeps_its_own_interval():
    entries = [run_entry("code", "lora", 0, 0.1), run_entry("code", "full", 0, 0.4)]
    mean = compared_runs(entries).methods[1].score
    assert (mean.estimate, mean.lower, mean.upper) == pytest.approx((0.4, 0.3, 0.6))


def test_strategies_are_told_apart_with_their_proxies():
    entries = [
        run_entry("code", "lora", 0, 0.1),
        run_entry("code", "lora", 0, 0.2, proxy="same", strategy={"kind": "loss", "lam": 1.0}),
        run_entry("code", "lora", 0, 0.3, proxy="other", strategy={"kind": "loss", "lam": 1.0}),
    ]
    labels = [m.label for m in compared_runs(entries).methods]
    assert labels == ["no constraint", "loss lambda 1, proxy same", "loss lambda 1, proxy other"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"runs": 3}, "no list of runs"),
        ({"runs": [{"id": "x", "status": "failed"}]}, "no run is done"),
        ({"runs": [{"id": "x", "status": "done"}]}, "lacks task"),
        ({"runs": [run_entry("a", "lora", 0, 0.1) | {"safety_gap": "x"}]}, "not a number"),
    ],
)
def test_bad_grids_are_refused(content, message):
    with pytest.raises(InputError, match=message):
        runs_of(content, file=Path("validate.json"))


def test_runs_that_are_all_alike_are_refused():
    with pytest.raises(InputError, match="differ in none"):
        compared_runs([run_entry("code", "lora", 0, 0.1)])


def item(number, category="Age"):
    return Item(str(number), category, "disambiguated", True, 0, 2, 0)


def test_a_bias_that_turned_its_sign():
    items = [item(i) for i in range(40)]
    toward, against = [0] * 36 + [1] * 4, [1] * 36 + [0] * 4
    even = [0, 1] * 20
    even[1] = 0
    base = score(items, toward)
    turned, weak = bias_changes(base, [("x", score(items, against)), ("y", score(items, even))])
    assert turned.flipped
    assert turned.certain
    assert not weak.flipped
    back = bias_changes(score(items, even), [("x", score(items, against))])[0]
    assert back.flipped
    assert not back.certain


def test_tables_in_three_formats(three):
    found = compare([result(name, scores) for name, scores in three.items()])
    scores, differences, pairs, together = tables(found)
    rows = list(csv.reader(io.StringIO(scores.csv())))
    assert rows[0][:4] == ["category", "base", "base lower", "base upper"]
    assert [row[0] for row in rows[1:]] == ["even", "odd", "all"]
    assert float(rows[3][4]) == found.methods[1].mean
    assert differences.columns == ("category", "lora", "ia3")
    assert len(pairs.rows) == 3
    assert [row[0] for row in together.rows] == ["Friedman", "Shapiro-Wilk"]
    assert together.rows[0][1:] == (
        3, 40, found.friedman.statistic, found.friedman.p_value, found.friedman.kendall_w,
    )  # fmt: skip
    assert repr(found.friedman.kendall_w) in together.csv()
    assert "Kendall's W" in together.latex()
    lines = scores.markdown().splitlines()
    assert len({line.count("|") for line in lines[2:]}) == 1
    assert scores.latex().count(r" \\") == 4


def test_tables_escape_what_their_format_means():
    table = Table("t", "50 % of a_b", ("name", "x"), (("a|b_c & d", Interval(0.5, 0.25, 0.75)),))
    assert r"a\|b_c & d" in table.markdown()
    assert r"a\textbar{}b\_c \& d & 0.500 [0.250, 0.750] \\" in table.latex()
    assert r"50 \% of a\_b" in table.latex()
    assert table.csv().splitlines() == ["name,x,x lower,x upper", "a|b_c & d,0.5,0.25,0.75"]


BAD_RECORDS = {
    "[1]": "no JSON object",
    '{"evaluation": "x", "label": "y"}': "no record of an evaluation",
    '{"evaluation": "x", "label": "y", "items": []}': "no items",
    '{"evaluation": "x", "label": "y", "items": [{"id": 1}]}': "no id or no score",
    '{"evaluation": "x", "label": "y", "items": [{"id": 1, "score": true}]}': "score of item 1",
    '{"evaluation": "x", "label": "y", "items": [{"id": 1, "score": NaN}]}': "score of item 1",
    '{"evaluation": "x", "label": "y", "items": [{"id": 1, "score": 1}, {"id": "1", "score": 1}]}':
        "is there twice",
    "{": "not JSON",
}  # fmt: skip


@pytest.mark.parametrize("text", BAD_RECORDS)
def test_bad_records_are_refused(tmp_path, text):
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(InputError, match=BAD_RECORDS[text]) as error:
        EvaluationResult.load(path)
    assert error.value.file == str(path)
